"""File locks between processes. The operating system releases them, however their holder ends.

A file system without locks is refused. The alternative, a file whose existence is the lock, survives a killed holder;
then either no process may continue, or two processes write to one folder.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pgolf.errors import PgolfError
from pgolf.machine.files import root_of

UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def acquire(path: Path, *, wait: bool) -> FileLock | None:
    """The acquired lock of a file; None if another process has it and `wait` is false.

    Raises OSError if the file cannot be created, PgolfError if its file system does not support locks.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except OSError as error:
        if error.errno in UNSUPPORTED:
            raise PgolfError(
                f"{root_of(path)}: this file system does not support locks ({error.strerror}, {path}). Name a folder "
                "on another one: paths.out for runs, paths.cache for corpora, TMPDIR for devices"
            ) from None
        error.filename = error.filename or str(path)
        raise
    return lock


@contextmanager
def locked(path: Path, before_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file. before_waiting: called if another process has it. Raises the errors of `acquire`."""
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
