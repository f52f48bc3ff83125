"""Files: written whole or not at all, read up to a size limit."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePath

LONGEST_NAME = 255  # bytes of one part of a path that file systems allow
LONGEST_PATH = 2_000  # bytes of a path from a file; Linux allows 4,095 with the folder that it lies in
MAX_FILE_BYTES = 64 * 2**20
PARTIAL = ".partial"
FULL = (errno.ENOSPC, errno.EDQUOT)


def write_whole(path: Path, *parts: bytes) -> int:
    """Write a file atomically: afterwards the old or the new content is there, never a part. Returns its size in bytes.

    Raises OSError with the file's name.
    """
    return write_parts(path, parts)


def write_parts(path: Path, parts: Iterable[bytes]) -> int:
    """`write_whole` for parts that are made one after another, so that they are never in memory together.

    The content is written to a temporary file in the same folder, synced to disk and renamed. If that fails, the
    temporary file is removed. Raises OSError with the file's name.
    """
    partial = path.with_name(f".{path.name[:50]}.{os.getpid()}{PARTIAL}")  # at most four bytes per character
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            size = file.tell()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # errors of write and fsync have no file name
        raise
    finally:
        with suppress(OSError):  # the first error is more informative
            partial.unlink(missing_ok=True)
    with suppress(OSError):  # some file systems cannot sync folders
        sync_folder(path.parent)
    return size


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """`write_whole` for text in UTF-8; lone surrogates are written as escapes. Raises OSError."""
    return write_parts(path, (line.encode("utf-8", errors="backslashreplace") for line in lines))


def describe_os_error(error: OSError, path: Path | None = None) -> str:
    """An error of the file system in one line, without a full stop. path: used if the error does not name a file.

    `PATH: reason`. If a disk or a quota is full, `no space left on ROOT (PATH)`, where ROOT is the root of the file
    system.
    """
    name = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else path
    if error.errno in FULL:
        reason = "no space left" if error.errno == errno.ENOSPC else "the disk quota is used up"
        return f"{reason} on the file system" if name is None else f"{reason} on {root_of(name)} ({name})"
    return f"{name or 'the file system'}: {error.strerror or error}"


def unwritten(error: OSError, path: Path) -> str:
    """`describe_os_error` for a file that could not be written."""
    return (
        describe_os_error(error, path)
        if error.errno in FULL
        else f"{path}: cannot be written ({error.strerror or error})"
    )


def root_of(path: Path) -> Path:
    """The mount point of the file system that a path lies on."""
    path = Path(os.path.abspath(path))
    while not os.path.ismount(path) and path != path.parent:
        path = path.parent
    return path


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Create a folder with its parents. If the block raises, the new folders that are still empty are removed.

    Raises OSError.
    """
    new_folders = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in new_folders:
            with suppress(OSError):
                place.rmdir()
        raise


def remove_partials(folder: Path) -> None:
    """Remove the temporary files of killed writers from a folder in which only the caller writes."""
    for partial in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError):
            partial.unlink()


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_inside(name: str) -> bool:
    """Whether a path from a file can lie below its folder: relative, without `..`, not the folder itself, and not
    longer than file systems allow.
    """
    parts = PurePath(name).parts
    fits = len(os.fsencode(name)) <= LONGEST_PATH and all(len(os.fsencode(part)) <= LONGEST_NAME for part in parts)
    return bool(parts) and not PurePath(name).is_absolute() and ".." not in parts and "\0" not in name and fits


def read_regular(path: Path, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a regular file of at most `most_bytes`.

    Raises OSError if it cannot be read, and ValueError if it is too long or not a regular file (a pipe never ends).
    """
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > most_bytes:
            raise ValueError(f"it has {size_bytes:,} bytes; at most {most_bytes:,} are read")
        content = file.read(size_bytes + 1)
    if len(content) > size_bytes:
        raise ValueError("it grew while it was read")
    return content


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened for reading. Raises OSError, and ValueError if it is not a regular file."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("it is not a regular file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would otherwise wait for a writer
