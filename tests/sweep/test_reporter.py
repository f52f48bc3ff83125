"""The remaining time that a sweep prints."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgolf.records.metrics import METRICS
from pgolf.sweep import reporter
from pgolf.sweep.reporter import Reporter


def test_time_before_the_first_step_is_not_taken_for_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 s until the first step, then half of a run in 10 s: one and a half runs of 20 s are left."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(reporter.time, "monotonic", lambda: clock.now)
    entry = SimpleNamespace(tokens=None)
    runs: list[Any] = [SimpleNamespace(folder=tmp_path / name, label=name, entry=lambda: entry) for name in ("a", "b")]
    told = Reporter(runs, [SimpleNamespace(kind="run"), SimpleNamespace(kind="run")])  # type: ignore[list-item]

    def log(step: int, elapsed_s: float) -> None:
        runs[0].folder.mkdir(exist_ok=True)
        lines = ({"event": "start", "steps": 100}, {"event": "train", "step": step, "elapsed_s": elapsed_s})
        (runs[0].folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    clock.now = 100.0
    log(1, 0.1)
    told.look()
    clock.now = 110.0
    log(50, 10.0)
    assert told.left(told.running()) == "; about 32 s left"


def test_the_mean_of_an_arm_counts_runs_that_had_ended_before(tmp_path: Path) -> None:
    def run_of(seed: int) -> Any:
        entry = SimpleNamespace(tokens=None)
        folder = tmp_path / f"seed{seed}"
        return SimpleNamespace(folder=folder, label=f"seed={seed}", entry=lambda: entry, identity={"arm": "tied"})

    runs = [run_of(1), run_of(2)]
    states = [SimpleNamespace(kind="done", record={"status": "ok", "val_bpb": 2.0}), SimpleNamespace(kind="run")]
    told = Reporter(runs, states)  # type: ignore[arg-type]
    line = told.mean_of_arm(runs[1], {"status": "ok", "val_bpb": 3.0})
    assert line == "; mean 2.5000 of 2 runs of this arm in this sweep"
