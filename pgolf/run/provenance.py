"""What a number came from: code, versions, machine. No torch state is touched."""

import ast
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pgolf.config.identity import SHORT, decisive
from pgolf.config.schema import Config, plain_config
from pgolf.machine.limits import cpu_limit, memory_limit
from pgolf.records.record import flat

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "numpy", "sentencepiece", "zstandard", "hydra-core")
WORKER = "sweep/worker.py"
# Commands.
OTHERS = (
    "train",
    "__main__",
    "status",
    "aggregate",
    "report",
    "compare",
    "rerun",
    "params",
    "bench",
    "evaluate",
    "data/__main__",
)


def imported_files(start: Iterable[str]) -> set[str]:
    """Files of the package, relative to it, that some of its files import, directly or through others; themselves
    included.
    """
    found, todo = set(), list(start)
    while todo:
        name = todo.pop()
        if name in found or not (PACKAGE / name).is_file():
            continue
        found.add(name)
        stat = (PACKAGE / name).stat()
        todo += imports_of(name, stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=1024)
def imports_of(name: str, _mtime_ns: int, _size: int) -> tuple[str, ...]:
    """Files that one file of the package may name in its imports, those that do not exist included; read once while it
    stays as it is.
    """
    named: list[str] = []
    for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            for dotted in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                inside = "/".join(dotted.split(".")[1:])
                named += [f"{inside}.py", f"{inside}/__init__.py".removeprefix("/")]
    return tuple(named)


def loaded_code() -> list[str]:
    """The source files, relative to the package, that a worker has loaded at this point.

    A single run trains inside the supervising command; what only a command imports is left out, so that a result has
    one code_sha and one size however it was started.
    """
    files = {
        Path(f).resolve()
        for name, m in sys.modules.items()
        if name.split(".")[0] == "pgolf" and (f := getattr(m, "__file__", None))
    }
    loaded = {f.relative_to(PACKAGE).as_posix() for f in files if f.is_relative_to(PACKAGE) and f.suffix == ".py"}
    workers = imported_files([WORKER])
    return sorted((loaded | {WORKER}) - (imported_files(f"{name}.py" for name in OTHERS) - workers))


CodeSums = Mapping[str, tuple[str, int]]


def code_sums(files: Iterable[str]) -> CodeSums:
    """{name: (sha256, bytes)} of source files, named relative to the package. A missing file counts as empty."""
    contents = {name: path.read_bytes() if (path := PACKAGE / name).is_file() else b"" for name in sorted(files)}
    return {name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in contents.items()}


def code_fields(sums: CodeSums) -> dict[str, Any]:
    """The code of a run as its record has it: one sum, its size, and a short sum a file."""
    whole = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
    size = sum(size for _, size in sums.values())
    return {
        "code_sha": whole,
        "code_bytes": size,
        "code_files": [f"{name} {sha[:SHORT]}" for name, (sha, _) in sums.items()],
    }


def changed_code(code_files: Iterable[str]) -> list[str]:
    """Which files of a record's `code_files` are not what they were."""
    noted = dict(str(line).rpartition(" ")[::2] for line in code_files)
    now = code_sums(noted)
    return [name for name in noted if now[name][0][:SHORT] != noted[name]]


def tree_sha(*folders: Path) -> str:
    """SHA-256 over the sources and configurations below some folders: what a sweep must find unchanged from its first
    job to its last.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".yaml") and p.is_file()):
            digest.update(
                f"{path.relative_to(folder).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest()
            )
    return digest.hexdigest()


def git(*words: str) -> str | None:
    """What git says in the folder of the package; None where it refuses or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace").strip()


def git_state() -> dict[str, Any]:
    """Commit of the checkout that holds the package, whether anything there is uncommitted, and a SHA-256 of that; None
    without a checkout.

    The sum covers `git diff HEAD` and the contents of untracked files that are not ignored.
    """
    # Installed, inside somebody else's checkout perhaps.
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
    """Versions of Python and of the libraries that touch the numbers."""
    found: dict[str, str | None] = {"versions.python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[f"versions.{name}"] = version(name)
        except PackageNotFoundError:
            found[f"versions.{name}"] = None
    return found


def machine_limits() -> dict[str, Any]:
    """CPU cores and bytes of memory that this process may use, and what decided each. They belong to no fingerprint."""
    cpu, memory = cpu_limit(), memory_limit()
    return {
        "limits.cpu_cores": cpu.amount,
        "limits.cpu_decided_by": cpu.decided_by,
        "limits.memory_bytes": None if memory is None else memory.amount,
        "limits.memory_decided_by": None if memory is None else memory.decided_by,
    }


def record_head(config: Config, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of a run however it ended: which one it is, its configuration, code, versions, device and
    threads.
    """
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
