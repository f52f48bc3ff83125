"""A run with a tracker of the user: it is the same run, whatever the tracker does, and goes on after a kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_trackers import journal

from pgolf.config.added import NO_TRACKER, completed
from pgolf.config.saved import load_saved
from pgolf.config.schema import PathsConfig, plain_config
from pgolf.training.checkpoint import read_state
from run_folders import events, records
from tiny import tiny_config

Train = Callable[[list[str]], int]
SHORT = ["train.steps=2", "train.log_every=1", "train.val_every=1"]


def same(record: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on the tracker."""
    clocked = ("_s", "_ms_median", "ended_at", "peak_mem_bytes", "overrides", "choices.tracker")
    return {key: value for key, value in record.items() if not key.endswith(clocked)}


def test_a_run_is_the_same_with_a_tracker_that_fails(
    train_here: Train, tiny: list[str], tmp_path: Path, own_choices: Callable[[str], None]
) -> None:
    own_choices("Journal")
    assert train_here([*tiny, *SHORT, "paths.out=without"]) == 0
    assert train_here([*tiny, *SHORT, "paths.out=with", "tracker=own", "tracker.fault='raise log'"]) == 0
    ((without, expected),) = records(tmp_path / "without")
    ((run, record),) = records(tmp_path / "with")
    assert same(record) == same(expected)
    assert run.relative_to(tmp_path / "with") == without.relative_to(tmp_path / "without")
    lines = (run / "train.log").read_text().splitlines()
    assert len([line for line in lines if line.startswith("warning: tracker: ConnectionError: no network at all")]) == 1
    assert not any("tracker" in path.name for path in without.iterdir())


def steps_of(folder: Path) -> int:
    """The steps at the checkpoint of a run folder."""
    state = read_state(folder)
    return 0 if state is None else int(state["trace"]["steps"])


def test_a_run_that_is_killed_goes_on_in_its_tracker(
    train_here: Train, tiny: list[str], tmp_path: Path, own_choices: Callable[[str], None]
) -> None:
    own_choices("Journal")
    words = [*tiny, "train.steps=120", "train.log_every=1", "launch.checkpoint_s=0.05", "tracker=own"]
    run = subprocess.Popen([sys.executable, "-m", "pgolf.train", *words], cwd=tmp_path, env=os.environ)
    until = time.monotonic() + 200
    while not any(steps_of(path.parents[1]) > 20 for path in tmp_path.rglob("state.pt")):
        assert time.monotonic() < until
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.wait()
    assert train_here(words) == 0
    ((folder, _),) = records(tmp_path)
    assert events(folder, "continued")
    lines = journal(folder)
    sent = [(key, step) for key, step, _ in lines if step >= 0]
    assert len(sent) == len(set(sent)), "nothing is sent twice"
    assert [step for key, step in sent if key == "train_bpb"] == list(range(1, 121)), "and nothing is lost"
    assert [step for key, step in sent if key == "val_bpb_live"] == list(range(12, 120, 12))
    values = {step: value for key, step, value in lines if key == "train_bpb"}
    assert values == {event["step"]: event["train_bpb"] for event in events(folder, "train")}
    assert len({value[0] for key, _, value in lines if key == "run"}) == 1
    assert lines[-1] == ("status", -2, "ok")


def test_a_package_that_is_missing_is_refused_before_anything_starts(
    train_here: Train,
    tiny: list[str],
    tmp_path: Path,
    own_choices: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    own_choices("Absent")
    assert train_here([*tiny, *SHORT, "tracker=own"]) == 2
    assert capsys.readouterr().err == (
        "tracker: is not installed (no_such_package_of_pgolf). "
        "Run pip install 'pgolf[absent]', or choose tracker=none\n"
    )
    assert not (tmp_path / "multirun").exists()


def test_a_class_that_is_not_a_tracker_is_refused(
    train_here: Train, tiny: list[str], own_choices: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    own_choices("Incomplete")
    assert train_here([*tiny, *SHORT, "tracker=own"]) == 2
    assert "tracker: the class has no log, finish (own_trackers.Incomplete). pgolf.slots" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tracker=tensorbord"], "tracker: no such choice (tensorbord). Did you mean tensorboard?"),
        (
            ["tracker=tensorboard", "tracker.most_share=2"],
            "tracker.most_share: cannot be used (2); choose a share above",
        ),
        (
            ["tracker=mlflow", "tracker.most_wait_s=-1"],
            "tracker.most_wait_s: cannot be used (-1); choose from 0 to 600",
        ),
        (
            ["tracker=wandb", "tracker.mode=offlin"],
            "tracker.mode: cannot be used (offlin); choose offline or online. Did",
        ),
        (["tracker.artifact=true"], "tracker.artifact: no such option (true). The chosen tracker has no options"),
        (["tracker=trackio", "tracker.folder="], "tracker.folder: is empty"),
    ],
)
def test_bad_options_are_refused(
    train_here: Train, tiny: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_here([*tiny, *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_folder_of_a_stranger_sends_nothing(
    train_here: Train, tiny: list[str], tmp_path: Path, own_choices: Callable[[str], None]
) -> None:
    own_choices("Journal")
    assert train_here([*tiny, *SHORT, "tracker=own"]) == 0
    ((run, _),) = records(tmp_path)
    assert load_saved(run).config.tracker["_target_"] == "own_trackers.Journal"
    assert load_saved(run, PathsConfig("out", "cache")).config.tracker == NO_TRACKER


def test_a_run_folder_of_an_earlier_version_has_no_tracker() -> None:
    config = plain_config(tiny_config())
    del config["tracker"]
    assert completed(config)["tracker"] == NO_TRACKER
    assert "tracker" not in completed({"model": {}}), "it is one section, not a whole configuration"
