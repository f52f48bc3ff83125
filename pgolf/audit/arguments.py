"""Checks of the arguments of the library: what users pass by mistake is named, with a remedy."""

import inspect
import operator
from collections.abc import Iterable
from typing import Any

import torch

from pgolf.errors import OptionError, require

MOST_SEED = 2**32 - 1


def whole(key: str, value: object, least: int, remedy: str, most: int | None = None) -> int:
    """A whole number from `least` to `most` as an int; integers of numpy and torch count, bools do not."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None or type(value).__name__ in ("bool", "bool_"):
        raise OptionError(key, value, remedy)
    require(found >= least and (most is None or found <= most), key, value, remedy)
    return found


def names(key: str, value: object) -> list[str]:
    """A list of texts."""
    listed = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    found = list(value) if isinstance(value, Iterable) and listed else []
    require(listed and all(isinstance(name, str) for name in found), key, value, "pass a list of names")
    return found


def items(key: str, value: object, remedy: str) -> Iterable[Any]:
    """Anything that can be iterated, except a text."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise OptionError(key, value, remedy)
    return value


def function(key: str, value: Any, arguments: int, remedy: str) -> None:
    """A function that can be called with this number of positional arguments."""
    require(callable(value), key, value, remedy)
    try:
        inspect.signature(value).bind(*[None] * arguments)
    except TypeError:
        raise OptionError(key, value, remedy) from None
    except ValueError:  # a builtin without a signature
        return


def device(value: Any) -> torch.device:
    """A device of torch that this machine has and that holds values."""
    remedy = "name a device of torch that this machine has, such as cpu or cuda"
    try:
        place = torch.device(value)
        torch.empty(1, device=place)
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError):
        raise OptionError("device", value, remedy) from None
    require(place.type != "meta", "device", str(value), f"it holds no values; {remedy}")
    return place
