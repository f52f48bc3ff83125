"""Checks of a configuration as plain data: known keys, types and finite numbers, before it becomes dataclasses."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from pgolf.config.schema import SECTIONS
from pgolf.errors import suggest
from pgolf.machine.typed import fits, wanted

Resolved = Mapping[str, Any]


def at(config: Resolved, path: str) -> Any:
    """The node at a dotted path; None where there is none."""
    node: Any = config
    for key in path.split(".") if path else []:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def section_problems(config: Resolved) -> Iterator[str]:
    """Unknown, missing and unset keys of the closed sections (Hydra's + and ~ get past its own check)."""
    for prefix, section in SECTIONS.items():
        node, known = at(config, prefix), list(get_type_hints(section))
        dot = f"{prefix}." if prefix else ""
        if not isinstance(node, Mapping):
            yield f"{prefix}: is missing. Remove the override that deletes it"
            continue
        for key in node:
            if key not in known:
                yield f"{dot}{key}: no such option ({node[key]}).{suggest(str(key), known)}"
        for key in known:
            if key not in node:
                yield f"{dot}{key}: is missing. Remove the override that deletes it"
            elif node[key] == "???":
                yield f"{dot}{key}: has no value. Give it as {dot}{key}=..."


def type_problems(section: Resolved, prefix: str, decided: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Values of one closed section of a file that are not of the schema's types. decided: types of options that are no
    longer `auto`.
    """
    for key, hint in get_type_hints(SECTIONS[prefix]).items():
        name = f"{prefix}.{key}".removeprefix(".")
        hint = (decided or {}).get(name, hint)
        if key in section and name not in SECTIONS and not fits(section[key], hint):
            yield f"{name}: needs {wanted(hint)} ({section[key]!r:.60})"


def endless_numbers(config: Resolved, prefix: str = "") -> Iterator[str]:
    """Floats that are infinite or not a number, wherever they stand."""
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from endless_numbers(value, f"{path}.")
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{path}: must be a finite number ({value})"
