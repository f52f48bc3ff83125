"""Prepared corpora on disk: one folder per entry, complete or absent.

An entry's name holds a hash of everything that determines its content. It is made in a temporary folder under a lock and renamed when it
is whole; a second process that wants the same entry waits for the first and takes its work; what a killed one left behind is never taken
for an entry and is removed by the next. `manifest.json` lists every file with size and SHA-256. Sizes are checked on every opening,
hashes by `verify_entry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgolf.data.progress import say
from pgolf.data.shards import file_sha256
from pgolf.errors import DataError
from pgolf.machine.files import FULL, told, write_lines
from pgolf.machine.locks import acquire

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """A complete cache entry: its folder, and `facts`, what its maker noted about it."""

    folder: Path
    facts: Mapping[str, object]


def entry_folder(cache_dir: Path, name: str, key: Mapping[str, object]) -> Path:
    """Where the entry lies that `key` determines (JSON values only)."""
    digest = hashlib.sha256(json.dumps({"schema": SCHEMA, **key}, sort_keys=True).encode()).hexdigest()
    return cache_dir / f"{name}-{digest[:16]}"


def prepare_entry(cache_dir: Path, name: str, key: Mapping[str, object], make: Callable[[Path], Mapping[str, object]]) -> Entry:
    """Open the entry of `key`, made first by `make(empty folder) -> facts` when it is not there.

    Raises DataError when the cache cannot be written or the entry is damaged; what `make` raises passes through, and leaves nothing behind.
    """
    folder = entry_folder(cache_dir, name, key)
    if not folder.exists():
        with locked(folder, f"the {name} corpus"):
            if not folder.exists():
                _make(folder, name, key, make)
    return open_entry(folder)


def _make(folder: Path, name: str, key: Mapping[str, object], make: Callable[[Path], Mapping[str, object]]) -> None:
    """Fill a temporary folder and rename it; the caller holds the lock, so other temporary folders of this entry are leftovers."""
    for leftover in folder.parent.glob(f".making-{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.parent / f".making-{folder.name}-{os.getpid()}"
    try:
        with writing(folder.parent):
            temporary.mkdir()
            facts = make(temporary)
            files = {path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in sorted(temporary.iterdir())}
            manifest = {"schema": SCHEMA, "name": name, "key": dict(key), "files": files, "facts": dict(facts)}
            write_lines(temporary / MANIFEST, [json.dumps(manifest, indent=1, sort_keys=True), "\n"])
            os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_entry(folder: Path) -> Entry:
    """The entry in `folder`, its files present and of the noted sizes. Raises DataError otherwise."""
    files, facts = _manifest(folder)
    for name, noted in files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: this file of a prepared corpus is missing; {_remedy(folder)}")
        if path.stat().st_size != noted["bytes"]:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes, but {noted['bytes']:,} were written; {_remedy(folder)}")
    return Entry(folder, facts)


def verify_entry(folder: Path) -> int:
    """Check every file of an entry against its SHA-256; how many there are. Raises DataError that names the damaged file."""
    open_entry(folder)
    files, _ = _manifest(folder)
    for name, noted in files.items():
        if (found := file_sha256(folder / name)) != noted["sha256"]:
            raise DataError(f"{folder / name}: damaged (sha256 {found[:16]}..., written {str(noted['sha256'])[:16]}...); {_remedy(folder)}")
    return len(files)


def is_entry(folder: Path) -> bool:
    """Whether `folder` holds a manifest of this cache (and not some other program's)."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"schema", "key", "files", "facts"} <= set(manifest)


def _manifest(folder: Path) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return manifest["files"], manifest["facts"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_remedy(folder)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    return f"delete the folder {folder} and prepare the corpus again"


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of `folder`; wait, with a line on stderr, while another process has it. Raises DataError where none can be made."""
    path = folder.parent / f".{folder.name}.lock"
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path, wait=False)
        if lock is None:
            say(f"{what} is being prepared by another process; waiting for it ...")
            lock = acquire(path, wait=True)
    assert lock is not None, path
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(cache_dir: Path) -> Iterator[None]:
    """Turn an OSError of the enclosed work into a DataError about a cache folder that cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DataError(f"{told(error, cache_dir)}. Make room, or choose another cache folder with paths.cache=...") from error
        raise DataError(
            f"{cache_dir}: cannot write to the cache folder ({error.strerror or error}); choose a writable one with enough free space"
        ) from error


def is_stamped(cache_dir: Path, key: Mapping[str, object]) -> bool:
    """Whether `stamp` noted before that the slow check which `key` describes was passed."""
    return (entry_folder(cache_dir, "checked", key)).is_file()


def stamp(cache_dir: Path, key: Mapping[str, object]) -> None:
    """Note that a slow check was passed. A cache that cannot be written only means that the check is done again next time."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_lines(entry_folder(cache_dir, "checked", key), [json.dumps(dict(key), sort_keys=True), "\n"])
    except OSError:
        return
