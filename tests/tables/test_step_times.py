"""Step times beside the rows: those that a benchmark left, and what damaged files become."""

import json
from pathlib import Path

import pytest

from pgolf.tables.scaling import StepRatio
from pgolf.tables.step_times import read_step_ratios

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"


def test_arms_of_a_committed_measurement_are_known_by_their_overrides() -> None:
    arms = frozenset(("Q0_full", "Q1_rank_3d8"))
    path = RESULTS / "low_rank_q.bench.json"
    times = json.loads(path.read_text())["step_time_ratio"]
    expected = StepRatio(times["median"], times["low"], times["high"])
    assert read_step_ratios(path, arms) == ({("Q1_rank_3d8", "Q0_full"): expected}, [])
    assert read_step_ratios(path, frozenset(("Q0_full",))) == ({}, []), "an arm of another study"
    assert read_step_ratios(RESULTS / "absent.bench.json", arms) == ({}, [])
    unnamed = read_step_ratios(RESULTS / "open_ideas.bench.json", arms)
    assert unnamed == ({}, []), "a list of models that are not named by their arms"


def entry(median: object = 2.0, tokens: object = 10, name: str = "arm=s/mos") -> dict[str, object]:
    models = [{"name": "arm=s/tied", "tokens_per_step": 20}, {"name": name, "tokens_per_step": tokens}]
    return {"models": models, "step_time_ratio": {"median": median, "low": None, "high": None}}


def test_times_are_per_token(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps([entry(), entry(median=3.0)]))
    found, warnings = read_step_ratios(tmp_path / "bench.json", frozenset(("tied", "mos")))
    assert (found, warnings) == ({("mos", "tied"): StepRatio(4.0)}, [])


@pytest.mark.parametrize(
    "bad", [entry(median=-1.0), entry(median=5e-324), entry(median="2"), entry(tokens=0), {"models": []}, [], 1]
)
def test_a_damaged_measurement_is_named_and_left_out(bad: object, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps([entry(), bad]))
    found, (warning,) = read_step_ratios(tmp_path / "bench.json", frozenset(("tied", "mos")))
    assert list(found) == [("mos", "tied")]
    assert "left out: measurement 2. Measure again" in warning


def test_a_damaged_file_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("{")
    found, (warning,) = read_step_ratios(tmp_path / "bench.json", frozenset())
    assert found == {}
    assert warning.startswith(str(tmp_path / "bench.json"))
