"""Prepared corpora on disk: one folder per entry, complete or absent.

An entry's name holds a hash of everything that determines its content. It is made in a temporary folder under a lock
and renamed when it is whole; a second process that wants the same entry waits for the first and takes its work; what a
killed one left behind is never taken for an entry and is removed by the next. `manifest.json` lists every file with
size and SHA-256. Sizes are checked on every opening, hashes by `verify_entry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pgolf.data.progress import say
from pgolf.data.shards import file_sha256
from pgolf.errors import DamagedFile, DataError
from pgolf.machine import locks
from pgolf.machine.files import FULL, describe_os_error, write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """A complete cache entry: its folder, `facts`, what its maker noted about it, and the names of its files."""

    folder: Path
    facts: Mapping[str, object]
    files: frozenset[str]


@dataclass(frozen=True)
class NotedFile:
    """What a manifest says of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The file. key: what determines the entry's content; facts: the maker's own."""

    schema: int
    name: str
    key: Mapping[str, Any]
    files: Mapping[str, NotedFile]
    facts: Mapping[str, Any]


def entry_folder(cache_dir: Path, name: str, key: Mapping[str, object]) -> Path:
    """Where the entry lies that `key` determines (JSON values only)."""
    digest = hashlib.sha256(json.dumps({"schema": SCHEMA, **key}, sort_keys=True).encode()).hexdigest()
    return cache_dir / f"{name}-{digest[:16]}"


def prepare_entry(
    cache_dir: Path, name: str, key: Mapping[str, object], make: Callable[[Path], Mapping[str, object]]
) -> Entry:
    """Open the entry of `key`, made first by `make(empty folder) -> facts` when it is not there.

    Raises DataError when the cache cannot be written or the entry is damaged; what `make` raises passes through, and
    leaves nothing behind.
    """
    folder = entry_folder(cache_dir, name, key)
    if not folder.exists():
        with locked(folder, f"the {name} corpus"):
            if not folder.exists():
                _make(folder, name, key, make)
    return open_entry(folder)


def _make(folder: Path, name: str, key: Mapping[str, object], make: Callable[[Path], Mapping[str, object]]) -> None:
    """Fill a temporary folder and rename it; the caller holds the lock, so other temporary folders of this entry are
    leftovers.
    """
    for leftover in folder.parent.glob(f".making-{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.parent / f".making-{folder.name}-{os.getpid()}"
    try:
        with writing(folder.parent):
            temporary.mkdir()
            facts = make(temporary)
            files = {
                path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
                for path in sorted(temporary.iterdir())
            }
            manifest = {"schema": SCHEMA, "name": name, "key": dict(key), "files": files, "facts": dict(facts)}
            write_lines(temporary / MANIFEST, [json.dumps(manifest, indent=1, sort_keys=True) + "\n"])
            os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_entry(folder: Path) -> Entry:
    """The entry in `folder`, its files present and of the noted sizes. Raises DataError otherwise."""
    manifest = read_manifest(folder)
    for name, noted in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: this file of a prepared corpus is missing; {_remedy(folder)}")
        if path.stat().st_size != noted.bytes:
            raise DataError(
                f"{path}: {path.stat().st_size:,} bytes, but {noted.bytes:,} were written; {_remedy(folder)}"
            )
    return Entry(folder, manifest.facts, frozenset(manifest.files))


def verify_entry(folder: Path) -> int:
    """Check every file of an entry against its SHA-256; how many there are. Raises DataError that names the damaged
    file.
    """
    open_entry(folder)
    files = read_manifest(folder).files
    for name, noted in files.items():
        if (digest := file_sha256(folder / name)) != noted.sha256:
            raise DataError(
                f"{folder / name}: damaged (sha256 {digest[:16]}..., written {noted.sha256[:16]}...); {_remedy(folder)}"
            )
    return len(files)


def is_entry(folder: Path) -> bool:
    """Whether `folder` holds a sound manifest of this cache (and not some other program's)."""
    try:
        read_manifest(folder)
    except DataError:
        return False
    return True


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an entry. Raises DataError if it is missing, damaged, or names files outside its folder."""
    path = folder / MANIFEST
    try:
        manifest = typed(Manifest, read_json(path))
        strange = [name for name in manifest.files if PurePath(name).name != name]
        if strange:
            raise ValueError(f"it names files outside its own folder ({strange[0]!r:.60})")
    except FileNotFoundError:
        raise DataError(f"{path}: is missing; {_remedy(folder)}") from None
    except DamagedFile as error:
        raise DataError(f"{path}: damaged: {error.reason}; {_remedy(folder)}") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}; {_remedy(folder)}") from None
    return manifest


def _remedy(folder: Path) -> str:
    return f"delete the folder {folder} and prepare the corpus again"


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of `folder`; wait, with a line on stderr, while another process has it. Raises DataError where none
    can be made.
    """
    path = folder.parent / f".{folder.name}.lock"
    with ExitStack() as held:
        with writing(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
            waiting = f"{what} is being prepared by another process; waiting for it ..."
            held.enter_context(locks.locked(path, lambda: say(waiting)))
        yield


@contextmanager
def writing(cache_dir: Path) -> Iterator[None]:
    """Turn an OSError of the enclosed work into a DataError about a cache folder that cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DataError(
                f"{describe_os_error(error, cache_dir)}. Make room, or choose another cache folder with paths.cache=..."
            ) from error
        raise DataError(
            f"{cache_dir}: cannot write to the cache folder ({error.strerror or error}); choose a writable one with "
            "enough free space"
        ) from error


def is_stamped(cache_dir: Path, key: Mapping[str, object]) -> bool:
    """Whether `stamp` noted before that the slow check which `key` describes was passed."""
    return (entry_folder(cache_dir, "checked", key)).is_file()


def stamp(cache_dir: Path, key: Mapping[str, object]) -> None:
    """Note that a slow check was passed. A cache that cannot be written only means that the check is done again next
    time.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_lines(entry_folder(cache_dir, "checked", key), [json.dumps(dict(key), sort_keys=True), "\n"])
    except OSError:
        return
