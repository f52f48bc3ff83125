"""When the loop waits for the device: later waiting changes neither weights nor what is logged."""

import pytest
import torch

from pgolf.errors import DivergedError
from pgolf.machine.ranks import Ranks
from pgolf.training.loop import train
from pgolf.training.pace import wait_of
from pgolf.training.runlog import RunLog
from run_folders import events
from tiny import bytes_of_state, configured_job, loop_settings, tiny_config, tiny_model, tiny_stream

CONFIG = tiny_config()


def run(folder, wait: str, steps: int = 11, *, log_every: int = 4, **changes):
    """A model and its trace after some steps."""
    folder.mkdir()
    model = tiny_model(CONFIG)
    job, _ = configured_job(CONFIG, model, steps, **changes)
    with RunLog(folder, is_first=True) as log:
        return model, train(job, loop_settings(CONFIG, wait=wait, log_every=log_every), Ranks(), log)


def test_the_wait_follows_device_and_budget():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert [wait_of(cpu, None), wait_of(cpu, 600.0), wait_of(cuda, 600.0), wait_of(cuda, None)] == [
        "update",
        "update",
        "step",
        "log",
    ]


@pytest.mark.parametrize("wait", ["step", "log"])
def test_the_numbers_do_not_depend_on_the_wait(wait, tmp_path):
    model, trace = run(tmp_path / "a", "update")
    other, later = run(tmp_path / "b", wait)
    assert bytes_of_state(model) == bytes_of_state(other)
    assert events(tmp_path / "a", "train") == events(tmp_path / "b", "train")
    assert [line["step"] for line in events(tmp_path / "b", "train")] == [1, 4, 8, 11]
    assert len(trace.step_ms) == len(later.step_ms) == 11
    assert later.train_s == pytest.approx(sum(later.step_ms) / 1000, rel=0.02)


def test_steps_between_two_waits_share_their_time(tmp_path):
    _, trace = run(tmp_path / "a", "log", steps=9)
    assert [len(set(trace.step_ms[a:b])) for a, b in ((0, 1), (1, 4), (4, 8), (8, 9))] == [1, 1, 1, 1]
    assert len(set(trace.step_ms)) == 4


class Spoiled:
    """A stream whose step `bad` spoils a weight, so that the loss of that step is not finite."""

    def __init__(self, model, bad: int):
        self.stream, self.model, self.bad = tiny_stream(CONFIG), model, bad
        self.asked = []

    def micro_batch(self, step, index):
        self.asked.append(step)
        if step == self.bad:
            with torch.no_grad():
                self.model.gains[0].mlp_scale[3] = float("nan")
        return self.stream.micro_batch(step, index)


@pytest.mark.parametrize(("wait", "reached"), [("update", 5), ("step", 5), ("log", 7)])
def test_a_loss_that_is_not_finite_is_named_by_its_own_step(wait, reached, tmp_path):
    """With `log`, the run goes on to the next line of the log, at step 8, and names step 6 there."""
    model = tiny_model(CONFIG)
    stream = Spoiled(model, bad=5)
    job, _ = configured_job(CONFIG, model, 20, stream)
    with RunLog(tmp_path, is_first=True) as log, pytest.raises(DivergedError, match=r"loss is nan at step 6\."):
        train(job, loop_settings(CONFIG, wait=wait, log_every=4), Ranks(), log)
    assert max(stream.asked) == reached
    assert [line["step"] for line in events(tmp_path, "train")] == [1, 4]


class Keeper:
    """Saves a state after one step."""

    def __init__(self, at: int):
        self.at, self.steps, self.saved = at, 0, None

    def load(self):
        return None

    def after_step(self, state, *, last):
        self.steps += 1
        if self.steps == self.at:
            self.saved = state()


def test_a_checkpoint_between_two_lines_has_the_clock_of_its_step(tmp_path):
    job, _ = configured_job(CONFIG, tiny_model(CONFIG), 8)
    keeper = Keeper(6)
    with RunLog(tmp_path, is_first=True) as log:
        train(job, loop_settings(CONFIG, wait="log", log_every=4), Ranks(), log, keeper)
    trace = keeper.saved["trace"]
    assert trace["steps"] == len(trace["step_ms"]) == 6
    assert trace["train_s"] == pytest.approx(sum(trace["step_ms"]) / 1000)


def test_no_checkpoint_is_made_of_weights_that_diverged(tmp_path):
    model = tiny_model(CONFIG)
    job, _ = configured_job(CONFIG, model, 20, Spoiled(model, bad=5))
    keeper = Keeper(7)
    with RunLog(tmp_path, is_first=True) as log, pytest.raises(DivergedError, match="step 6"):
        train(job, loop_settings(CONFIG, wait="log", log_every=10), Ranks(), log, keeper)
    assert keeper.saved is None
