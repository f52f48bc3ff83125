"""Checks plain data against type annotations, and builds dataclasses from JSON."""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

LARGEST = 1e18  # far above every count, size, time or score of a record
T = TypeVar("T")


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value has the annotated type. An int counts as a float; a bool does not count as an int."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(fits(v, get_args(hint)[0]) for v in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if hint is float:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and abs(value) < 2**1000
            and math.isfinite(value)
        )
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    if hint is Any:
        return True
    return isinstance(value, hint) if isinstance(hint, type) else True


def wanted(hint: Any) -> str:
    """A type annotation in words for a user, for example `a whole number or null`."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(wanted(option) for option in get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if origin in (list, tuple):
        return f"a list in which each item is {wanted(get_args(hint)[0])}"
    return {
        float: "a number",
        int: "a whole number",
        str: "text",
        bool: "true or false",
        type(None): "null",
        Any: "any value",
    }.get(hint, str(hint))


def typed(cls: type[T], value: Any, where: str = "") -> T:
    """A dataclass from plain data with the right fields and types, including nested dataclasses and tuples.

    Raises ValueError with the place of the first wrong value: `sweeps[0].cells[3].seed needs a whole number ('x')`.
    """
    instance: T = _typed(cls, value, where)
    return instance


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _dataclass(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong("a list", value, where)
        return tuple(_typed(inner[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise _wrong("a table of keys", value, where)
        return {key: _typed(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if not fits(value, hint):
        raise _wrong(wanted(hint), value, where)
    if not within(value):
        raise _wrong(f"a number from {-LARGEST:g} to {LARGEST:g}", value, where)
    return value


def within(value: Any) -> bool:
    """Whether a value is not a number, or a number from -LARGEST to LARGEST."""
    return not isinstance(value, int | float) or abs(value) <= LARGEST


def _dataclass(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong("a table of keys", value, where)
    hints, dot = get_type_hints(cls), f"{where}." if where else ""
    is_required = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(cls)}
    for key in value:
        if key not in is_required:
            raise ValueError(f"{dot}{key} is not a field of it")
    for key, required in is_required.items():
        if required and key not in value:
            raise ValueError(f"{dot}{key} is missing")
    return cls(**{key: _typed(hints[key], item, f"{dot}{key}") for key, item in value.items()})


def _wrong(need: str, value: Any, where: str) -> ValueError:
    return ValueError(f"{where or 'it'} needs {need} ({_short(value)})")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
