"""Which source files a run has."""

import ast

import pytest

from pgolf.execution.provenance import PACKAGE, imports_of

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def parsed_imports(name: str) -> set[str]:
    """Files that may be meant by the imports of a file, from its syntax tree."""
    files = set()
    for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pgolf":
            for dotted in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                inside = "/".join(str(dotted).split(".")[1:])
                files |= {f"{inside}.py", f"{inside}/__init__.py".removeprefix("/")}
    return files


@pytest.mark.parametrize("name", FILES)
def test_imports_are_those_of_the_syntax_tree(name: str) -> None:
    stat = (PACKAGE / name).stat()
    assert set(imports_of(name, stat.st_mtime_ns, stat.st_size)) == parsed_imports(name)
