"""The committed results: every table equals the output of the documented command for its rows."""

import re
from pathlib import Path

import pytest

from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.study.description import STUDY

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"
STUDIES = sorted(path.name.removesuffix(f".{STUDY}") for path in RESULTS.glob(f"*.{STUDY}"))
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


def numbers_of(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]


@pytest.mark.parametrize("name", STUDIES)
def test_the_committed_tables_are_those_of_the_committed_rows(name: str, tmp_path: Path) -> None:
    write_tables(aggregate(RESULTS / f"{name}.jsonl"), tmp_path / f"{name}.jsonl")
    for result in sorted(tmp_path.iterdir()):
        made, committed = (path.read_text(encoding="utf-8") for path in (result, RESULTS / result.name))
        if result.suffix == ".csv":  # all digits, of which the last ones depend on the version of scipy
            assert numbers_of(made) == pytest.approx(numbers_of(committed), rel=1e-8), result.name
            made, committed = NUMBER.sub("0", made), NUMBER.sub("0", committed)
        assert made == committed, result.name
    assert {f"{name}.table.{kind}" for kind in ("md", "csv", "tex")} <= {result.name for result in tmp_path.iterdir()}


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_of_the_study_has_the_same_seeds_three_or_more(name: str) -> None:
    result = aggregate(RESULTS / f"{name}.jsonl")
    assert result.study is not None
    done = {(row["arm"], row["seed"]) for row in result.collected.rows if row["status"] == "ok"}
    seeds = {seed for _, seed in done}
    assert len(seeds) >= 3
    assert done == {(arm, seed) for family in result.study.families for arm in family.arms for seed in seeds}
