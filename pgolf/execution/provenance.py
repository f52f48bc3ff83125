"""The origin of a result: code, versions and machine. Nothing here changes the state of torch."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pgolf.command import COMMANDS
from pgolf.config.identity import SHORT, decisive
from pgolf.config.schema import Config, plain_config
from pgolf.machine.limits import cpu_limit, memory_limit
from pgolf.records.record import flat

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "numpy", "sentencepiece", "zstandard", "hydra-core")
# `from pgolf.x import y, z`, also over several lines. Parsing the files takes fifty times as long.
IMPORT = re.compile(r"^[ \t]*from (pgolf[\w.]*) import (\([^)]*\)|[^\n#]*)", re.MULTILINE)
WORKER = "sweep/worker.py"
TRACKERS = "trackers/"
# Where a command may lie. The source files that only commands import do not affect a result.
OTHERS = ("__main__.py", *(file for name in COMMANDS for file in (f"{name}.py", f"{name}/__main__.py")))


def imported_files(start: Iterable[str]) -> set[str]:
    """Files of the package that the start files import, directly or indirectly, and the start files themselves.

    All names are relative to the package.
    """
    names, todo, existing = set(), list(start), source_files()
    while todo:
        name = todo.pop()
        if name not in names and name in existing:
            names.add(name)
            todo += imports_of(name, *existing[name])
    return names


def source_files() -> dict[str, tuple[int, int]]:
    """{name relative to the package: (modification time in nanoseconds, bytes)} of its Python files."""
    stats = {path.relative_to(PACKAGE).as_posix(): path.stat() for path in PACKAGE.rglob("*.py")}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}


@lru_cache(maxsize=1024)
def imports_of(name: str, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    """Files of the package that one of its files may import; some may not exist. Cached until the file changes."""
    candidates: list[str] = []
    for module, names in IMPORT.findall((PACKAGE / name).read_text(encoding="utf-8")):
        imported = (word.split(" as ")[0].strip() for word in names.strip("()").split(","))
        for dotted in (module, *(f"{module}.{word}" for word in imported if word)):
            inside = "/".join(dotted.split(".")[1:])
            candidates += [f"{inside}.py", f"{inside}/__init__.py".removeprefix("/")]
    return tuple(candidates)


def own_packages(config: Mapping[str, Any]) -> set[str]:
    """Packages of the user that a configuration, as plain data, names in a `_target_`; libraries are left out."""
    target, found = config.get("_target_"), set()
    if isinstance(target, str) and target.split(".")[0] not in ("pgolf", *LIBRARIES):
        found.add(target.split(".")[0])
    return found.union(*(own_packages(node) for node in config.values() if isinstance(node, Mapping)))


def own_folder(package: str) -> Path | None:
    """The folder of a package of the user, or of a module that is one file. None if it is not installed.

    The name may come from a record: nothing is imported.
    """
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        return None
    return Path((spec.submodule_search_locations or [str(Path(str(spec.origin)).parent)])[0]).resolve()


def path_of_code(name: str) -> Path:
    """The source file of a name in a record: relative to pgolf, or `PACKAGE:` and relative to another package."""
    package, separator, inside = name.rpartition(":")
    folder = own_folder(package) if separator else PACKAGE
    return Path(os.devnull) if folder is None else folder / inside


def loaded_code(config: Mapping[str, Any] | None = None) -> list[str]:
    """The source files that a worker has loaded at this point, as `path_of_code` reads them.

    config: as plain data; files of the user's packages that it names are included. A single run
    trains inside the process of a command. Files that only commands import are left out, so that the hash and the size
    of the code do not depend on how a run was started. Those of trackers are left out as well.
    """
    files = {
        Path(f).resolve()
        for name, m in sys.modules.items()
        if name.split(".")[0] == "pgolf" and (f := getattr(m, "__file__", None))
    }
    loaded = {f.relative_to(PACKAGE).as_posix() for f in files if f.is_relative_to(PACKAGE) and f.suffix == ".py"}
    workers = imported_files([WORKER])
    decisive = {key: node for key, node in (config or {}).items() if key != "tracker"}
    own = {name for package in own_packages(decisive) for name in loaded_files(package)}
    counted = (loaded | {WORKER}) - (imported_files(OTHERS) - workers)
    return sorted({name for name in counted if not name.startswith(TRACKERS)} | own)


def loaded_files(package: str) -> set[str]:
    """`PACKAGE:FILE` of each source file of a package of the user that is loaded."""
    folder = own_folder(package)
    files = {
        Path(f).resolve()
        for name, m in sys.modules.items()
        if name.split(".")[0] == package and (f := getattr(m, "__file__", None))
    }
    return {
        f"{package}:{f.relative_to(folder).as_posix()}"
        for f in files
        if folder is not None and f.is_relative_to(folder) and f.suffix == ".py"
    }


CodeHashes = Mapping[str, tuple[str, int]]


def code_hashes(files: Iterable[str]) -> CodeHashes:
    """{name: (sha256, bytes)} of source files, named as in a record. A missing file counts as empty."""
    contents = {name: path.read_bytes() if (path := path_of_code(name)).is_file() else b"" for name in sorted(files)}
    return {name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in contents.items()}


def code_fields(hashes: CodeHashes) -> dict[str, Any]:
    """Fields of a record about the code: one hash, the size in bytes, and a short hash per file."""
    whole = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    size = sum(size for _, size in hashes.values())
    return {
        "code_sha": whole,
        "code_bytes": size,
        "code_files": [f"{name} {sha[:SHORT]}" for name, (sha, _) in hashes.items()],
    }


def changed_code(code_files: Iterable[str]) -> list[str]:
    """Names of the files that have changed since a record was written. code_files: its field of that name."""
    before = dict(str(line).rpartition(" ")[::2] for line in code_files)
    now = code_hashes(before)
    return [name for name in before if now[name][0][:SHORT] != before[name]]


def tree_sha(*folders: Path) -> str:
    """SHA-256 of the names and contents of all Python and YAML files below some folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".yaml") and p.is_file()):
            digest.update(
                f"{path.relative_to(folder).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest()
            )
    return digest.hexdigest()


def git(*words: str) -> str | None:
    """The output of a git command in the folder of the package; None if it fails or git is not installed."""
    try:
        result = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode("utf-8", errors="replace").strip()


def git_state() -> dict[str, Any]:
    """Fields of a record: the commit of the checkout, whether it has uncommitted changes, and a SHA-256 of these.

    The hash covers `git diff HEAD` and the contents of untracked files that are not ignored. All fields are None if the
    package is not part of a checkout.
    """
    # An installed package may lie inside another checkout.
    if git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return {"git_sha": None, "git_dirty": None, "git_diff_sha": None}
    top = Path(git("rev-parse", "--show-toplevel") or ".")
    names = [
        name
        for name in (git("-C", str(top), "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
        if name
    ]
    digest = hashlib.sha256((git("diff", "HEAD", "--binary") or "").encode())
    for name in names:
        content = (top / name).read_bytes() if (top / name).is_file() else b""
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}".encode())
    dirty = bool(git("status", "--porcelain"))
    return {
        "git_sha": git("rev-parse", "HEAD"),
        "git_dirty": dirty,
        "git_diff_sha": digest.hexdigest() if dirty else None,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the libraries that affect results; None for a library that is not installed."""
    fields: dict[str, str | None] = {"versions.python": platform.python_version()}
    for name in LIBRARIES:
        try:
            fields[f"versions.{name}"] = version(name)
        except PackageNotFoundError:
            fields[f"versions.{name}"] = None
    return fields


def machine_limits() -> dict[str, Any]:
    """Limits of this process: CPU cores, bytes of memory, and the source of each limit. No part of a fingerprint."""
    cpu, memory = cpu_limit(), memory_limit()
    return {
        "limits.cpu_cores": cpu.amount,
        "limits.cpu_decided_by": cpu.decided_by,
        "limits.memory_bytes": None if memory is None else memory.amount,
        "limits.memory_decided_by": None if memory is None else memory.decided_by,
    }


def record_head(config: Config, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record that are known before a run starts: identity, configuration, versions and machine."""
    return {
        **identity,
        "seed": config.seed,
        **git_state(),
        **versions(),
        "device": config.device,
        "threads": config.train.cpu_threads,
        **machine_limits(),
        "precision": config.train.precision,
        "compile": config.train.compile,
        "nproc": config.launch.nproc,
        **flat({key: value for key, value in decisive(plain_config(config)).items() if key != "seed"}, "config"),
    }
