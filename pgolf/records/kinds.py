"""The kinds of values that fields of a record have, and how a value is tested for one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pgolf.machine.typed import LARGEST

LARGEST_SEED = 2**64


@dataclass(frozen=True)
class Kind:
    """name: for error messages and the reference page, with its article. fits: whether a value is of this kind."""

    name: str
    fits: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number of a size that can be computed with; NaN and infinity are numbers too."""
    if isinstance(value, float):
        return not math.isfinite(value) or abs(value) <= LARGEST
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


def is_amount(value: Any) -> bool:
    return is_finite(value) and value >= 0


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of 0 or more; 171.0, as spreadsheet programs write it, is one."""
    return is_amount(value) and value == int(value)


def is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_SEED


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_place(value: Any) -> bool:
    """Whether a value is [arm, sweep, position]."""
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and all(map(is_count, value[1:]))


NUMBER = Kind("a number", is_number)  # NaN in a run whose score is not finite
FINITE = Kind("a finite number", is_finite)
AMOUNT = Kind("a finite number of 0 or more", is_amount)
COUNT = Kind("a whole number of 0 or more", is_count)
SEED = Kind("a whole number of 0 or more", is_seed)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", is_text)
TEXTS = Kind("a list of texts", is_texts)
CHOICE = Kind("a text or a list of texts", lambda value: is_text(value) or is_texts(value))
PLACES = Kind("a list of [arm, sweep, position]", lambda value: isinstance(value, list) and all(map(is_place, value)))
ANY = Kind("any value", lambda value: True)
