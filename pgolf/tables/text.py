"""Numbers, intervals and grids as text, the same for every format."""

from dataclasses import dataclass

from pgolf.tables.stats import TTest


@dataclass(frozen=True)
class Grid:
    """columns: titles; numeric: which of them hold numbers, set to the right; rows of text cells."""

    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    heading: str
    lines: tuple[str, ...] = ()
    grid: Grid | None = None


def number(value: float | None, digits: int = 4, *, sign: bool = False) -> str:
    return "" if value is None else f"{value:{'+' if sign else ''}z,.{digits}f}"


def p_text(p: float | None) -> str:
    return "" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def interval(test: TTest | None, digits: int = 4) -> str:
    """`+0.0130 [+0.0100, +0.0160]`, or the difference with the reason why it has no interval."""
    if test is None or test.difference is None:
        return "" if test is None else test.reason or ""
    bounds = (
        f"({test.reason})"
        if test.low is None
        else f"[{number(test.low, digits, sign=True)}, {number(test.high, digits, sign=True)}]"
    )
    return f"{number(test.difference, digits, sign=True)} {bounds}"
