"""Locks between processes, on files: released by the operating system, however their holder ends.

A file system that has none is refused. The way around, a file whose presence is the lock, outlives a killed holder, and
then either nobody may go on or two processes write in one folder.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pgolf.errors import PgolfError
from pgolf.machine.files import root_of

WITHOUT = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def acquire(path: Path, *, wait: bool) -> FileLock | None:
    """The lock of a file, held until it is released; None where another process has it and `wait` is false.

    Raises OSError where the file cannot be made, PgolfError where its file system has no locks.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except OSError as error:
        if error.errno in WITHOUT:
            raise PgolfError(
                f"{root_of(path)}: this file system has no locks ({error.strerror}, {path}). "
                "Name a folder on another one: paths.out for runs, paths.cache for corpora, TMPDIR for devices"
            ) from None
        error.filename = error.filename or str(path)
        raise
    return lock


@contextmanager
def locked(path: Path, before_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file. before_waiting: called where another process has it. Raises as `acquire` does."""
    lock = acquire(path, wait=False)
    if lock is None:
        if before_waiting is not None:
            before_waiting()
        lock = acquire(path, wait=True)
    assert lock is not None, path
    try:
        yield
    finally:
        lock.release()
