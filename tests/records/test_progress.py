"""How far a run is, and when a sweep will end."""

import json
import time
from pathlib import Path

import pytest

from pgolf.records.metrics import METRICS
from pgolf.records.plan import PlannedRun, Sweep
from pgolf.records.progress import Progress, progress_of, remaining_s, works
from pgolf.records.sweep_state import left_s


def log(folder: Path, *events: dict[str, object]) -> Path:
    folder.joinpath(METRICS).write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_the_last_logged_step_counts(tmp_path: Path) -> None:
    start = {"event": "start", "parameters": 5, "steps": 100, "seconds": None}
    steps = [{"event": "train", "step": n, "elapsed_s": 2.0 * n, "train_bpb": 3.0} for n in (1, 10, 25)]
    found = progress_of(log(tmp_path, start, *steps, {"event": "eval", "val_bpb": 2.0}))
    assert found == Progress(25, 100, None, 50.0, 3.0)
    assert found.fraction == 0.25
    assert found.left_s == 150.0
    assert found.text == "step 25 of 100, loss 3.000 bpb, 2 min left"


@pytest.mark.parametrize("start", [{"event": "start", "parameters": 5}, {"event": "start", "steps": "many"}])
def test_without_a_known_budget_nothing_is_estimated(tmp_path: Path, start: dict[str, object]) -> None:
    found = progress_of(log(tmp_path, start, {"event": "train", "step": 7, "elapsed_s": 1.0}))
    assert found is not None
    assert (found.fraction, found.left_s, found.text) == (None, None, "step 7")


def test_a_budget_in_seconds(tmp_path: Path) -> None:
    start = {"event": "start", "steps": None, "seconds": 60.0}
    found = progress_of(log(tmp_path, start, {"event": "train", "step": 2, "elapsed_s": 45.0}))
    assert found is not None
    assert (found.fraction, found.left_s) == (0.75, 15.0)


def test_no_step_and_damaged_files_give_no_progress(tmp_path: Path) -> None:
    assert progress_of(tmp_path) is None
    assert progress_of(log(tmp_path, {"event": "start", "steps": 9})) is None
    tmp_path.joinpath(METRICS).write_bytes(b"\xff\xfe[[[\n{")
    assert progress_of(tmp_path) is None


def test_two_jobs_at_a_time_halve_the_estimate() -> None:
    """Eight runs of 60 s, two at a time: after 90 s two have ended, two are half done, and 150 s are left."""
    left = remaining_s(90.0, [1.0] * 2, [(1.0, 0.5)] * 2, [1.0] * 4)
    assert left == pytest.approx(150, rel=0.05)


def test_a_sweep_takes_no_less_than_its_slowest_run() -> None:
    assert remaining_s(10.0, [1.0], [(1.0, 0.1)], [], longest_s=660.0) == 660.0


def test_long_runs_count_more_than_short_ones() -> None:
    """One run of 10 s has ended; one that is eight times as long waits."""
    assert works([100, 800]) == [100.0, 800.0]
    assert works([100, None]) == [1.0, 1.0], "tokens of a run that is limited by time are not known"
    assert remaining_s(10.0, [100.0], [], [800.0]) == 80.0


@pytest.mark.parametrize(("ended", "shares", "waiting"), [(3, [], 0), (0, [0.01], 5), (0, [], 4)])
def test_no_estimate_when_all_is_done_or_hardly_begun(ended: int, shares: list[float], waiting: int) -> None:
    assert remaining_s(10.0, [1.0] * ended, [(1.0, share) for share in shares], [1.0] * waiting) is None


def test_what_comes_before_the_first_step_is_paid_once() -> None:
    """A sweep of 240 s, 100 of them before its first step: the other runs do not pay these again."""
    now = time.time()
    planned = [PlannedRun("adhoc", "tied", seed, "f" * 16, f"tied/seed{seed}") for seed in (1, 2, 3)]
    sweep = Sweep((), now - 240.0, "", False, tuple(planned))
    states = [
        {"state": "ok", "began_at": now - 140.0, "ended_at": now - 40.0},
        {"state": "running", "began_at": now - 40.0, "fraction": 0.4, "left_s": 60.0},
        {"state": "waiting"},
    ]
    left = left_s([sweep], dict(zip(planned, states, strict=True)))
    assert left == pytest.approx(60 + 100, rel=0.1)
