"""Measured numbers in the documents stand in a committed table, in LOG.md or, if published, in conf/."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/studies.md", "docs/statistics.md")
MEASURED = re.compile(r"(?<![\w.,])\d+\.\d{3,}(?![\w.])|(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,.]*\d)")
LIMITS = {"16,000,000", "1,000", "100,000"}  # the challenge's cap, and options


def sources() -> str:
    """Everything that a number may come from."""
    paths = [ROOT / "LOG.md", *(ROOT / "analysis" / "results").glob("*.table.md"), *(ROOT / "conf").rglob("*.yaml")]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize("page", PAGES)
def test_measured_numbers_have_a_source(page: str) -> None:
    known = set(MEASURED.findall(sources()))
    numbers = set(MEASURED.findall((ROOT / page).read_text(encoding="utf-8")))
    assert numbers, "the pattern finds nothing"
    assert sorted(numbers - known - LIMITS) == []


def test_numbers_are_found_as_they_are_written() -> None:
    text = "+0.1506 [-0.1141, 0.1872], 932,525 bytes, 1.57 to 160 steps, p < 0.0001, v2.55.1234"
    assert MEASURED.findall(text) == ["0.1506", "0.1141", "0.1872", "932,525", "0.0001"]
