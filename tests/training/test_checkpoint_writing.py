"""Checkpoints are written while training goes on, and hold the state of their step."""

import threading
from pathlib import Path

import pytest
import torch

from pgolf.machine.ranks import Ranks
from pgolf.training import checkpoint
from pgolf.training.checkpoint import PARTS, Checkpoints, copied, read_state
from pgolf.training.runlog import RunLog

KEY = {"seed": 1, "fingerprint": "0" * 16, "versions.torch": "2", "data_sha": "0" * 64, "code_files": ["run.py 0"]}


def state_of(weight: torch.Tensor, steps: int) -> dict:
    return {**dict.fromkeys(PARTS), "model": {"w": weight, "list": [weight, None]}, "trace": {"steps": steps}}


@pytest.fixture
def log(tmp_path: Path):
    with RunLog(tmp_path, is_first=True) as log:
        yield log


def checkpoints(log: RunLog, *, asked=lambda: False, every_s: float | None = 0.0) -> Checkpoints:
    return Checkpoints(KEY, log, asked, Ranks(), every_s=every_s)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The writer waits for this event before it writes."""
    may_write, real = threading.Event(), checkpoint.write_whole

    def write(*arguments):
        assert may_write.wait(30)
        return real(*arguments)

    monkeypatch.setattr(checkpoint, "write_whole", write)
    return may_write


def test_the_state_is_that_of_its_step(log: RunLog, slow: threading.Event) -> None:
    weight = torch.ones(4)
    with checkpoints(log) as keeper:
        keeper.after_step(lambda: state_of(weight, 1), last=False)
        assert read_state(log.folder) is None, "the loop did not wait"
        weight.zero_()  # the next step
        log.event("train", step=2)
        slow.set()
    state = read_state(log.folder)
    assert state is not None
    assert state["trace"]["steps"] == 1
    assert torch.equal(state["model"]["w"], torch.ones(4))
    assert torch.equal(state["model"]["list"][0], torch.ones(4))
    assert state["offsets"]["metrics.jsonl"] == 0


@pytest.mark.parametrize("ending", ["last", "stop"])
def test_the_last_checkpoint_is_waited_for(ending: str, log: RunLog) -> None:
    keeper = checkpoints(log, asked=lambda: ending == "stop", every_s=1000.0)
    if ending == "stop":
        with pytest.raises(KeyboardInterrupt):
            keeper.after_step(lambda: state_of(torch.ones(2), 7), last=False)
    else:
        keeper.after_step(lambda: state_of(torch.ones(2), 7), last=True)
    state = read_state(log.folder)
    assert state is not None
    assert state["trace"]["steps"] == 7


def test_none_is_written_before_it_is_time(log: RunLog) -> None:
    for every_s in (None, 1000.0):
        with checkpoints(log, every_s=every_s) as keeper:
            keeper.after_step(lambda: pytest.fail("the state is not needed"), last=False)
    assert not (log.folder / "checkpoint").exists()


def test_an_error_of_the_thread_is_one_of_the_run(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    (log.folder / "checkpoint").touch()  # a file, where the folder should be
    with checkpoints(log) as keeper:
        for steps in (1, 2):
            keeper.after_step(lambda steps=steps: state_of(torch.ones(2), steps), last=False)
    assert keeper.warnings == ["no checkpoint could be written: File exists"]
    assert (log.folder / "train.log").read_text().count("the run continues without checkpoints") == 1

    def fail(*_) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(checkpoint, "state_bytes", fail)
    (log.folder / "checkpoint").unlink()
    with pytest.raises(ZeroDivisionError):
        checkpoints(log).after_step(lambda: state_of(torch.ones(2), 1), last=True)


def test_a_copy_shares_nothing() -> None:
    state = {"a": [torch.ones(2), {"b": (torch.zeros(1), 3)}], "c": None}
    other = copied(state)
    state["a"][0].fill_(5)
    state["a"][1]["b"][0].fill_(5)
    assert other["a"][0].tolist() == [1, 1]
    assert other["a"][1]["b"][0].tolist() == [0]
    assert (other["a"][1]["b"][1], other["c"]) == (3, None)
