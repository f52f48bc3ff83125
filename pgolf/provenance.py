"""What a number came from: code, versions, machine. No torch state is touched."""

import ast
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
LIBRARIES = ("torch", "numpy", "sentencepiece", "zstandard", "hydra-core")


def fingerprint(config: Mapping[str, Any]) -> str:
    """16 hex digits of what decides a result: a configuration resolved under a fixed mark for the seed, without launch and locations."""
    kept = {key: value for key, value in config.items() if key not in ("launch", "paths", "run")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


WORKER, SUPERVISOR = "worker.py", ("train.py", "__main__.py")


def imported_files(start: Iterable[str]) -> set[str]:
    """Files of the package, relative to it, that some of its files import, directly or through others; themselves included."""
    found, todo = set(), list(start)
    while todo:
        name = todo.pop()
        if name in found or not (PACKAGE / name).is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
                for dotted in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    inside = "/".join(dotted.split(".")[1:])
                    todo += [f"{inside}.py", f"{inside}/__init__.py".removeprefix("/")]
    return found


def loaded_code() -> list[str]:
    """The source files, relative to the package, that a worker has loaded at this point.

    A single run trains inside the supervising command; what only that command imports is left out, so that a result has one code_sha and
    one size however it was started.
    """
    files = {Path(f).resolve() for name, m in sys.modules.items() if name.split(".")[0] == "pgolf" and (f := getattr(m, "__file__", None))}
    loaded = {f.relative_to(PACKAGE).as_posix() for f in files if f.is_relative_to(PACKAGE) and f.suffix == ".py"}
    workers = imported_files([WORKER])
    return sorted((loaded | {WORKER}) - (imported_files(SUPERVISOR) - workers))


def code_state(files: Iterable[str]) -> tuple[str, int]:
    """(sha256, UTF-8 bytes) of source files named relative to the package; a file that is gone changes the sum."""
    digest, size = hashlib.sha256(), 0
    for name in sorted(files):
        path = PACKAGE / name
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name} {len(content)}\n".encode() + content)
        size += len(content)
    return digest.hexdigest(), size


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that holds the package; None where there is none."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    sha = git("rev-parse", "HEAD")
    return {"git_sha": sha, "git_dirty": None if sha is None else bool(git("status", "--porcelain"))}


def versions() -> dict[str, str | None]:
    """Versions of Python and of the libraries that touch the numbers."""
    found: dict[str, str | None] = {"versions.python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[f"versions.{name}"] = version(name)
        except PackageNotFoundError:
            found[f"versions.{name}"] = None
    return found
