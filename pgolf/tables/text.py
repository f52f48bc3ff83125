"""The parts of a page: sections and grids of text, with numbers and intervals written alike in all formats."""

from dataclasses import dataclass
from enum import Enum

from pgolf.tables.decision import Decision
from pgolf.tables.stats import TTest


@dataclass(frozen=True)
class Grid:
    """A table of text. columns: titles. numeric: which columns are numbers, which are aligned to the right."""

    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


class SectionKind(Enum):
    """What a section shows. Code selects sections by their kind; headings are for readers."""

    STUDY = "the study's question and families"
    WARNINGS = "the warnings"
    FAMILY = "the table of a family"
    THRESHOLD = "the challenge's threshold for a record"
    DETAILS = "the tests in detail"
    CONFIGURATION = "the configuration keys that differ"
    UNSCORED = "the runs without a score"
    FURTHER = "a further table of a study"
    CLAIMS = "the verdicts on claims"
    SENSITIVITY = "how the decisions of a family read under other tests"
    SEEDS = "the scores of single seeds"
    RECORD = "what a study planned, added and explored"


@dataclass(frozen=True)
class Section:
    kind: SectionKind
    heading: str
    lines: tuple[str, ...] = ()
    grid: Grid | None = None


def number(value: float | None, digits: int = 4, *, sign: bool = False) -> str:
    return "" if value is None else f"{value:{'+' if sign else ''}z,.{digits}f}"


def p_text(p: float | None) -> str:
    return "" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def interval(test: TTest | None, digits: int = 4) -> str:
    """`+0.0130 [+0.0100, +0.0160]`, or the difference and why it has no interval."""
    if test is None or test.difference is None:
        return "" if test is None else test.reason or ""
    bounds = (
        f"({test.reason})"
        if test.low is None
        else f"[{number(test.low, digits, sign=True)}, {number(test.high, digits, sign=True)}]"
    )
    return f"{number(test.difference, digits, sign=True)} {bounds}"


def verdict_text(decision: Decision, margin: float | None, hindrance: str | None = None) -> str:
    """A decision in words: `equal within 0.01`, or `undecided: ` with the reason why no verdict is possible."""
    if decision is Decision.EQUAL and margin is not None:
        return f"equal within {margin:g}"
    return f"{decision.value}: {hindrance}" if hindrance else decision.value
