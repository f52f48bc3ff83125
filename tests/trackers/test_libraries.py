"""Each tracking library, writing to this machine: what it has of a run, read back by the library itself.

`make test-trackers` installs the libraries. A test whose library is missing is skipped.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trackers_folders import HERE, IDENTITY, add_steps

from made_records import record
from pgolf.config.build import build_tracker
from pgolf.records.record import write_record
from pgolf.trackers.limits import is_installed, tree_cpu_s
from pgolf.trackers.process import TrackerProcess
from run_folders import records
from tiny import tiny_config

PATIENT_S = 300.0
LIBRARIES = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"needs pip install 'pgolf[{name}]'"))
    for name in ("tensorboard", "wandb", "trackio", "mlflow")
]
GROUPED = ("wandb", "trackio", "mlflow")  # TensorBoard has no groups: the study is a folder above the run
CURVE = ("train_bpb", "train_nats", "val_bpb_live", "tokens", "elapsed_s", "lr_scale", "step_ms")


def read_back(name: str, folder: Path) -> list[dict[str, Any]]:
    """The runs that a library has, by read_back.py."""
    command = [sys.executable, str(HERE / "read_back.py"), name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENT_S, check=False)
    assert done.returncode == 0, done.stderr
    runs: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return runs


def steps(run: dict[str, Any], metric: str) -> dict[int, float]:
    """The values of a metric by step, which occurs once."""
    points = [(step, value) for key, step, value in run["points"] if key == metric]
    assert len(points) == len(dict(points)), f"{metric} has a step twice"
    return dict(sorted(points))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_run_is_there_with_its_curve_configuration_and_record(
    train_here: Callable[[list[str]], int], tiny: list[str], tmp_path: Path, name: str
) -> None:
    words = ["train.steps=2", "train.log_every=1", "train.val_every=1", "model/head=factorized"]
    assert train_here([*tiny, *words, f"tracker={name}", f"tracker.most_wait_s={PATIENT_S}"]) == 0
    ((folder, written),) = records(tmp_path)
    assert "tracker   has 3 points and the record" in (folder / "train.log").read_text()
    (run,) = read_back(name, tmp_path / "multirun")
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for kind, metric in (("train", "train_bpb"), ("train", "tokens"), ("train", "lr_scale"), ("val", "val_bpb_live")):
        wanted = {event["step"]: event[metric] for event in metrics if event["event"] == kind}
        assert steps(run, metric) == pytest.approx(wanted, rel=1e-6)
    assert {key for key, _, _ in run["points"]} == set(CURVE)
    assert run["arm"].startswith(written["arm"][:50])
    assert str(run["params"]["model.width"]) in ("32", "32.0")
    assert run["params"]["model.head._target_"] == written["config.model.head._target_"]
    assert Path(run["params"].get("folder", folder)) == folder
    for key in ("val_bpb", "total_bytes", "params.total"):
        assert run["record"][key] == pytest.approx(written[key], rel=1e-6)
    if name in GROUPED:
        assert run["group"] == "adhoc"
    assert run.get("status", "FINISHED") == "FINISHED"
    assert run.get("exit", 0) == 0


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_killed_tracker_goes_on_with_the_same_run(run_folder: Path, tmp_path: Path, name: str) -> None:
    config = tiny_config(f"tracker={name}", f"paths.out={tmp_path}", f"tracker.most_wait_s={PATIENT_S}")
    options = {key: value for key, value in config.tracker.items() if not key.startswith("_")}

    def tracked() -> TrackerProcess:
        return TrackerProcess(build_tracker(config), options, run_folder, IDENTITY, 1, said.append)

    said: list[str] = []
    with tracked() as first:
        first.start(resumed=False)
        assert first.process is not None
        wait_until_idle(first.process.pid)
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
        assert "exit code -9" in first.notice()
    add_steps(run_folder, 5, 6)
    write_record(run_folder, record("mos", 1, 2.5))
    with tracked() as second:
        second.start(resumed=True)
    assert "points and the record" in said[0], (run_folder / "tracker.log").read_text()
    (run,) = read_back(name, tmp_path)
    assert list(steps(run, "train_bpb")) == [1, 2, 3, 4, 5, 6]
    assert list(steps(run, "val_bpb_live")) == [4, 6]
    assert run["record"]["val_bpb"] == 2.5


def wait_until_idle(pid: int, seconds: float = 4.0) -> None:
    """Wait until a process has computed something, and then nothing for a while."""
    until, used_s, since = time.monotonic() + PATIENT_S, 0.0, time.monotonic()
    while time.monotonic() < until and (used_s < 0.3 or time.monotonic() - since < seconds):
        now_s = tree_cpu_s(pid)
        if now_s > used_s + 0.011:
            used_s, since = now_s, time.monotonic()
        time.sleep(0.1)
