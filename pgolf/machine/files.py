"""Files of this computer: written whole or not at all, read with a limit."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

MAX_FILE_BYTES = 64 * 2**20


def write_whole(path: Path, *parts: bytes) -> int:
    """Write a file so that there is the old one or the new one, never a part of one. Returns its size in bytes.

    The content goes to a temporary file beside it, is brought to the disk, and gets its name by rename. Nothing is left of a file that
    could not be written. Raises OSError.
    """
    partial = path.with_name(f".{path.name[:100]}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):  # the first error says more
            partial.unlink(missing_ok=True)
    with suppress(OSError):  # some file systems cannot
        sync_folder(path.parent)
    return sum(map(len, parts))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """`write_whole` of text as UTF-8; what UTF-8 cannot hold is written as an escape. Raises OSError."""
    return write_whole(path, *(line.encode("utf-8", errors="backslashreplace") for line in lines))


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_regular(path: Path, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a regular file of at most `most_bytes`.

    Raises OSError where it cannot be read, and ValueError for what is no regular file (a pipe would never end) or is too long.
    """
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > most_bytes:
            raise ValueError(f"it has {size_bytes:,} bytes; at most {most_bytes:,} are read")
        content = file.read(most_bytes + 1)  # it may grow while it is read
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    return content


def open_regular(path: Path) -> BufferedReader:
    """A regular file opened for reading. Raises OSError where it cannot be, and ValueError for what is not a regular file."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("it is not a regular file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for its other end
