"""Checks a configuration as plain data, before it becomes dataclasses: keys, types and finite numbers."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from pgolf.config.schema import SECTIONS
from pgolf.errors import suggest
from pgolf.machine.typed import fits, wanted

Resolved = Mapping[str, Any]


def node_at(config: Resolved, path: str) -> Any:
    """The value at a dotted path; None if the path does not exist."""
    node: Any = config
    for key in path.split(".") if path else []:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def section_problems(config: Resolved) -> Iterator[str]:
    """Problems of unknown, missing and unset keys of the closed sections. Hydra itself does not check `++` and `~`."""
    for prefix, section in SECTIONS.items():
        node, names = node_at(config, prefix), list(get_type_hints(section))
        dot = f"{prefix}." if prefix else ""
        if not isinstance(node, Mapping):
            yield f"{prefix}: is missing. Remove the override that deletes it"
            continue
        for key in node:
            if key not in names:
                yield f"{dot}{key}: no such option ({node[key]}).{suggest(str(key), names)}"
        for key in names:
            if key not in node:
                yield f"{dot}{key}: is missing. Remove the override that deletes it"
            elif node[key] == "???":
                yield f"{dot}{key}: has no value. Give it as {dot}{key}=..."


def type_problems(section: Resolved, prefix: str, decided: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Problems of values in a closed section that do not have the type of the schema.

    decided: {path: type} of options whose type changes once `auto` has been decided.
    """
    for key, hint in get_type_hints(SECTIONS[prefix]).items():
        name = f"{prefix}.{key}".removeprefix(".")
        hint = (decided or {}).get(name, hint)
        if key in section and name not in SECTIONS and not fits(section[key], hint):
            yield f"{name}: needs {wanted(hint)} ({section[key]!r:.60})"


def odd_keys(config: Resolved, prefix: str = "") -> Iterator[str]:
    """Problems of all keys that are not text: JSON would turn them into text between the check and the run."""
    for key, value in config.items():
        if not isinstance(key, str):
            yield f"{prefix[:-1]}: has a key that is not text ({key!r}). Write it in quotes"
        elif isinstance(value, Mapping):
            yield from odd_keys(value, f"{prefix}{key}.")


def endless_numbers(config: Resolved, prefix: str = "") -> Iterator[str]:
    """Problems of all floats of a configuration that are infinite or NaN."""
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from endless_numbers(value, f"{path}.")
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{path}: must be a finite number ({value})"
