"""Documentation text of installed packages, read from their source files by `ast`. No package is imported or run.

A source file gives one document. It consists of the docstrings of module, classes and functions, in order and cleaned
by `inspect.cleandoc`, and of the long strings in calls of `add_newdoc` and `add_docstr`, which numpy and torch use to
document C code. They are joined by blank lines.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import inspect
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgolf.data.prepare.documents import Document, document
from pgolf.errors import DataError

STDLIB = "stdlib"
_TEST_FOLDERS = {"test", "tests", "testing", "_testing", "idle_test", "fixtures"}
_FOREIGN_FOLDERS = {
    "_vendor",
    "_vendored",
    "vendored",
    "third_party",
    "_bundled",
    "ensurepip",
    "site-packages",
    "dist-packages",
}
SKIPPED_FOLDERS = frozenset({"__pycache__", *_TEST_FOLDERS, *_FOREIGN_FOLDERS})
_ATTACHING_CALLS = frozenset({"add_newdoc", "add_docstr", "_add_docstr", "add_docstr_all"})
_ATTACHED_CHARS = 40  # shorter string arguments of such a call are names
_OWNERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def package_folder(package: str) -> Path:
    """The source folder of an installed package, without importing it; `stdlib` is the standard library.

    Raises DataError if the package is not installed as a folder of sources.
    """
    if package == STDLIB:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"the package {package} is not installed, but its documentation is part of this corpus. Install {package}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def source_files(root: Path) -> list[Path]:
    """Python sources under `root`, sorted by relative path, without tests and vendored packages."""
    paths: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith((".", "config-"))]
        paths.extend(Path(folder, name) for name in files if name.endswith(".py") and not name.startswith("test_"))
    return sorted(paths, key=lambda path: path.relative_to(root).as_posix())


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection inside: a syntax tree has no cycles, and the search takes half the parsing time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@collector_paused()
def package_documents(package: str) -> tuple[list[Document], list[str]]:
    """One document per source file with documentation, and the names of the files that could not be parsed.

    Raises DataError if the package is not installed.
    """
    root = package_folder(package)
    documents, unreadable = [], []
    for path in source_files(root):
        name = f"{package}/{path.relative_to(root).as_posix()}"
        try:
            texts = list(documentation(path.read_bytes()))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            unreadable.append(name)
            continue
        if texts:
            documents.append(document(name, "\n\n".join(texts)))
    return documents, unreadable


def documentation(source: bytes) -> Iterator[str]:
    """The documentation strings of a source file, cleaned and in order. Raises the errors of `ast.parse`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about invalid escapes in third-party sources
        tree = ast.parse(source)
    attaching = any(name.encode() in source for name in _ATTACHING_CALLS)
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, _OWNERS):
            text = ast.get_docstring(node, clean=False)
            if text and text.strip():
                yield inspect.cleandoc(text)
        elif attaching and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _attached(node.value)
        for field in ("finalbody", "orelse", "cases", "handlers", "body"):
            inner = getattr(node, field, None)
            if isinstance(inner, list):
                stack.extend(reversed(inner))


def _attached(call: ast.Call) -> Iterator[str]:
    """Long string arguments of a call that attaches documentation to an object."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in _ATTACHING_CALLS:
        for node in ast.walk(call):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > _ATTACHED_CHARS:
                yield inspect.cleandoc(node.value)


def topic_documents() -> list[Document]:
    """The topics of the language reference that `help()` shows, one document each."""
    from pydoc_data.topics import topics

    return [document(f"topics/{name}", text) for name, text in sorted(topics.items())]


def python_version() -> str:
    """The interpreter's name and version, which determine the text of the standard library."""
    return f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}"
