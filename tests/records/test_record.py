"""The committed results: every table equals the output of the documented command for its rows."""

from pathlib import Path

import pytest

from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.study.description import STUDY

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"
STUDIES = sorted(path.name.removesuffix(f".{STUDY}") for path in RESULTS.glob(f"*.{STUDY}"))


@pytest.mark.parametrize("name", STUDIES)
def test_the_committed_tables_are_those_of_the_committed_rows(name: str, tmp_path: Path) -> None:
    write_tables(aggregate(RESULTS / f"{name}.jsonl"), tmp_path / f"{name}.jsonl")
    for result in sorted(tmp_path.iterdir()):
        assert result.read_text(encoding="utf-8") == (RESULTS / result.name).read_text(encoding="utf-8"), result.name
    assert {f"{name}.table.{kind}" for kind in ("md", "csv", "tex")} <= {result.name for result in tmp_path.iterdir()}


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_of_the_study_has_three_seeds(name: str) -> None:
    result = aggregate(RESULTS / f"{name}.jsonl")
    assert result.study is not None
    wanted = {(arm, seed) for family in result.study.families for arm in family.arms for seed in (1, 2, 3)}
    assert {(row["arm"], row["seed"]) for row in result.collected.rows if row["status"] == "ok"} == wanted
