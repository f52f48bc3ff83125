"""Plain data against type annotations: whether a value has a type, that type in a user's words, and dataclasses made
from JSON.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

LARGEST = 1e18  # no count, size, time or score of ours comes near it; floats here tell whole numbers about 100 apart
T = TypeVar("T")


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain config value has the annotated type; an int is a float, a bool is not an int."""
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
    """A type in a user's words."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(wanted(option) for option in get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "null"}.get(
        hint, str(hint)
    )


def typed(made: type[T], value: Any, where: str = "") -> T:
    """A dataclass from plain data that has its fields, each of its type, dataclasses and tuples within included.

    Raises ValueError that names the place of the first value at fault: `sweeps[0].cells[3].seed needs a whole number
    ('x')`.
    """
    built: T = _typed(made, value, where)
    return built


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
    """Whether a value, if it is a number, is one that a record of ours could hold."""
    return not isinstance(value, int | float) or abs(value) <= LARGEST


def _dataclass(made: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong("a table of keys", value, where)
    hints, dot = get_type_hints(made), f"{where}." if where else ""
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(made)}
    for key in value:
        if key not in known:
            raise ValueError(f"{dot}{key} is not a field of it")
    for key, needed in known.items():
        if needed and key not in value:
            raise ValueError(f"{dot}{key} is missing")
    return made(**{key: _typed(hints[key], item, f"{dot}{key}") for key, item in value.items()})


def _wrong(what: str, value: Any, where: str) -> ValueError:
    return ValueError(f"{where or 'it'} needs {what} ({_short(value)})")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
