"""The cache of prepared corpora: one folder per entry, complete or absent.

An entry's name holds a hash of everything that determines its content. It is prepared in a temporary folder under a
lock, and renamed when it is complete. A second process that needs the same entry waits for the first and uses its
result. The remains of a killed process are never taken for an entry, and the next process removes them.
`manifest.json` lists every file with size and SHA-256. Sizes are checked whenever an entry is opened, hashes by
`verify_entry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pgolf.data.progress import say
from pgolf.data.shards import file_sha256
from pgolf.errors import DamagedFile, DataError
from pgolf.machine import locks
from pgolf.machine.files import FULL, describe_os_error, is_inside, write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed

MANIFEST = "manifest.json"
SCHEMA = 1
_MAY_CREATE = ContextVar("may_create", default=True)


@contextmanager
def nothing_new() -> Iterator[None]:
    """A context in which no corpus is prepared or downloaded; DataError if it is not in the cache."""
    token = _MAY_CREATE.set(False)
    try:
        yield
    finally:
        _MAY_CREATE.reset(token)


def require_may_create(what: object) -> None:
    """Raise DataError within `nothing_new`. what: the missing file or folder."""
    if not _MAY_CREATE.get():
        raise DataError(f"{what}: is not in the cache. Prepare it with `python -m pgolf.data prepare data=...`")


@dataclass(frozen=True)
class Entry:
    """A complete cache entry: its folder, the `facts` in its manifest, and the names of its files."""

    folder: Path
    facts: Mapping[str, object]
    files: frozenset[str]


@dataclass(frozen=True)
class ManifestFile:
    """A manifest's entry about one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`. key: determines the entry's content. facts: returned by `make`."""

    schema: int
    name: str
    key: Mapping[str, Any]
    files: Mapping[str, ManifestFile]
    facts: Mapping[str, Any]


def entry_folder(cache_dir: Path, name: str, key: Mapping[str, object]) -> Path:
    """The folder of the entry that `key` determines. key: JSON values only."""
    digest = hashlib.sha256(json.dumps({"schema": SCHEMA, **key}, sort_keys=True).encode()).hexdigest()
    return cache_dir / f"{name}-{digest[:16]}"


def prepare_entry(
    cache_dir: Path, name: str, key: Mapping[str, object], make: Callable[[Path], Mapping[str, object]]
) -> Entry:
    """The entry of `key`, created by `make(empty folder) -> facts` if it does not exist.

    Raises DataError if the cache cannot be written or the entry is damaged. Errors of `make` pass through and leave no
    files behind.
    """
    folder = entry_folder(cache_dir, name, key)
    if not folder.exists():
        require_may_create(folder)
        with locked(folder, f"the {name} corpus"):
            if not folder.exists():
                _make(folder, name, key, make)
    return open_entry(folder)


def _make(folder: Path, name: str, key: Mapping[str, object], make: Callable[[Path], Mapping[str, object]]) -> None:
    """Fill a temporary folder and rename it. The caller holds the lock, so older temporary folders can be removed."""
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
    """The entry in `folder`. Raises DataError unless all its files exist and have the sizes in the manifest."""
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: this file of a prepared corpus is missing. {_remedy(folder)}")
        if path.stat().st_size != expected.bytes:
            raise DataError(
                f"{path}: {path.stat().st_size:,} bytes, but {expected.bytes:,} were written. {_remedy(folder)}"
            )
    return Entry(folder, manifest.facts, frozenset(manifest.files))


def verify_entry(folder: Path) -> int:
    """The number of files of an entry, after each was checked against its SHA-256. Raises DataError for a wrong one."""
    open_entry(folder)
    files = read_manifest(folder).files
    for name, expected in files.items():
        if (digest := file_sha256(folder / name)) != expected.sha256:
            raise DataError(
                f"{folder / name}: damaged (sha256 {digest[:16]}..., written {expected.sha256[:16]}...). "
                f"{_remedy(folder)}"
            )
    return len(files)


def is_entry(folder: Path) -> bool:
    """Whether `folder` holds a valid manifest of this cache, and not one of another program."""
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
        outside = [name for name in manifest.files if PurePath(name).name != name or not is_inside(name)]
        if outside:
            raise ValueError(f"it names files outside its own folder ({outside[0]!r:.60})")
    except FileNotFoundError:
        raise DataError(f"{path}: is missing. {_remedy(folder)}") from None
    except DamagedFile as error:
        raise DataError(f"{path}: damaged: {error.reason}. {_remedy(folder)}") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}. {_remedy(folder)}") from None
    return manifest


def _remedy(folder: Path) -> str:
    return f"Delete the folder {folder} and prepare the corpus again"


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of `folder`. Waits while another process has it, with a message that names `what`.

    Raises DataError if the lock file cannot be created.
    """
    path = folder.parent / f".{folder.name}.lock"
    with ExitStack() as stack:
        with writing(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
            message = f"{what} is being prepared by another process; waiting for it ..."
            stack.enter_context(locks.locked(path, lambda: say(message)))
        yield


@contextmanager
def writing(cache_dir: Path) -> Iterator[None]:
    """Turn an OSError of the block into a DataError about a cache folder that cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DataError(
                f"{describe_os_error(error, cache_dir)}. Make room, or choose another cache folder with paths.cache=..."
            ) from error
        raise DataError(
            f"{cache_dir}: cannot write to the cache folder ({error.strerror or error}). Choose a writable one with "
            "enough free space"
        ) from error


def is_stamped(cache_dir: Path, key: Mapping[str, object]) -> bool:
    """Whether the slow check that `key` describes has passed before, as recorded by `stamp`."""
    return entry_folder(cache_dir, "checked", key).is_file()


def stamp(cache_dir: Path, key: Mapping[str, object]) -> None:
    """Record that a slow check has passed. If the cache cannot be written, the check is repeated next time."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_lines(entry_folder(cache_dir, "checked", key), [json.dumps(dict(key), sort_keys=True), "\n"])
    except OSError:
        return
