"""The training loop on real models and streams, against gradient descent written out by hand."""

import json
import math

import numpy as np
import pytest
import torch

from pgolf.errors import DivergedError
from pgolf.machine.ranks import Ranks
from pgolf.nn.naming import named_tensors
from pgolf.optim.schedules import Budget, StepWarmdown
from pgolf.training.loop import train
from pgolf.training.runlog import RunLog
from tiny import (
    bytes_of_state,
    configured_job,
    loop_settings,
    tiny_config,
    tiny_job,
    tiny_model,
    tiny_stream,
)

CONFIG = tiny_config()


def trained(job, settings, folder) -> tuple[object, list[dict]]:
    with RunLog(folder, is_first=True) as log:
        trace = train(job, settings, Ranks(), log)
    return trace, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def sgd_job(model, config=CONFIG, *, steps: int, lr: float = 0.1, names: list[str] | None = None, **changes):
    tensors = named_tensors(model)
    names = names or list(tensors)
    stream = changes.pop("stream", None) or tiny_stream(config)
    return tiny_job(model, names, [torch.optim.SGD([tensors[name] for name in names], lr=lr)], stream, steps, **changes)


def by_hand(
    config, steps: int, lr: float, names: list[str] | None = None, clip: float | None = None
) -> dict[str, torch.Tensor]:
    """Plain gradient descent on the mean loss of all rows of each step, with new gradients at each step."""
    model, stream = tiny_model(config), tiny_stream(config)
    tensors = named_tensors(model)
    names = names or list(tensors)
    for step in range(steps):
        batches = [stream.micro_batch(step, i) for i in range(stream.micro_batches)]
        x, y = (torch.cat(part) for part in zip(*batches, strict=True))
        grads = torch.autograd.grad(model(x, y).mean(), [tensors[name] for name in names])
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
        factor = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        with torch.no_grad():
            for name, g in zip(names, grads, strict=True):
                tensors[name] -= lr * factor * g
    return {name: p.detach() for name, p in tensors.items()}


def assert_same_weights(model, want: dict[str, torch.Tensor], **tolerance) -> None:
    for name, p in named_tensors(model).items():
        torch.testing.assert_close(
            p.detach(), want[name], **{"rtol": 1e-4, "atol": 1e-6, **tolerance}, msg=lambda m, name=name: f"{name}: {m}"
        )


class TestGradients:
    def test_are_cleared_every_step(self, tmp_path):
        model = tiny_model(CONFIG)
        trained(sgd_job(model, steps=4), loop_settings(CONFIG), tmp_path)
        assert_same_weights(model, by_hand(CONFIG, 4, 0.1))

    def test_of_untrained_tensors_are_cleared_too(self, tmp_path):
        """Gradients without an optimizer must not add up: after four steps, only those of the last step exist."""
        model, left_out = tiny_model(CONFIG), "model.q_proj.1.proj.weight"
        names = [name for name in named_tensors(model) if name != left_out]
        trained(sgd_job(model, steps=4, names=names), loop_settings(CONFIG), tmp_path)
        piled = named_tensors(model)[left_out].grad.clone()
        again = tiny_model(CONFIG)
        trained(sgd_job(again, steps=3, names=names), loop_settings(CONFIG), tmp_path)
        stream = tiny_stream(CONFIG)
        x, y = (torch.cat(part) for part in zip(*(stream.micro_batch(3, i) for i in range(2)), strict=True))
        (alone,) = torch.autograd.grad(again(x, y).mean(), [named_tensors(again)[left_out]])
        torch.testing.assert_close(piled, alone, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("micro_batches", [1, 2, 4])
    def test_accumulation_equals_one_big_batch(self, micro_batches, tmp_path):
        config = tiny_config(f"train.micro_batches={micro_batches}")
        model = tiny_model(config)
        trained(sgd_job(model, config, steps=5), loop_settings(config), tmp_path)
        assert_same_weights(model, by_hand(tiny_config("train.micro_batches=1"), 5, 0.1))

    def test_priming_leaves_no_trace(self, tmp_path):
        states = []
        for priming_steps in (0, 3):
            model = tiny_model(CONFIG)
            trained(configured_job(CONFIG, model, 3)[0], loop_settings(CONFIG, priming_steps=priming_steps), tmp_path)
            states.append(bytes_of_state(model))
        assert states[0] == states[1]


class TestClipping:
    @pytest.mark.parametrize("clip", [0.01, 1e6])
    def test_is_torchs_over_the_trained_parameters(self, clip, tmp_path):
        model = tiny_model(CONFIG)
        trained(sgd_job(model, steps=2), loop_settings(CONFIG, grad_clip_norm=clip), tmp_path)
        assert_same_weights(model, by_hand(CONFIG, 2, 0.1, clip=clip))

    def test_leaves_out_gradients_of_untrained_tensors(self, tmp_path):
        """The table alone has most of the norm; a job that does not train it must not be clipped by it."""
        model = tiny_model(CONFIG)
        names = [name for name in named_tensors(model) if not name.startswith("model.embedding.")]
        trained(sgd_job(model, steps=2, names=names), loop_settings(CONFIG, grad_clip_norm=0.01), tmp_path)
        want = by_hand(CONFIG, 2, 0.1, names=names, clip=0.01)
        assert_same_weights(model, want)
        start = tiny_model(CONFIG)
        moved = [want[name] - p.detach() for name, p in named_tensors(start).items() if name in names]
        assert math.sqrt(sum(float(m.square().sum()) for m in moved)) == pytest.approx(0.1 * 0.01 * 2, rel=0.3)

    def test_frozen_tensors_do_not_count(self, tmp_path):
        config = tiny_config("optim.frozen=[model.embedding]")
        model = tiny_model(config)
        job, made = configured_job(config, model, 1)
        names = [name for group in made.names.values() for name in group]
        job = sgd_job(model, config, steps=1, names=names)
        trained(job, loop_settings(config, grad_clip_norm=0.01), tmp_path)
        assert_same_weights(model, by_hand(config, 1, 0.1, names=names, clip=0.01))


class TestDivergence:
    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_loss_that_is_not_finite_stops_the_run_before_the_weights_move(self, bad, tmp_path):
        model = tiny_model(CONFIG)
        with torch.no_grad():
            model.gains[0].mlp_scale[3] = bad
        before = bytes_of_state(model)
        with pytest.raises(DivergedError, match="at step 1"):
            trained(sgd_job(model, steps=3), loop_settings(CONFIG), tmp_path)
        assert bytes_of_state(model) == before

    def test_rates_that_explode_are_noticed(self, tmp_path):
        with pytest.raises(DivergedError, match=r"loss is (nan|inf) at step \d+\. Lower the learning rates"):
            trained(sgd_job(tiny_model(CONFIG), steps=10, lr=1e38), loop_settings(CONFIG), tmp_path)


class TestLearning:
    @pytest.mark.parametrize("optimizer", ["muon", "adamw"])
    @pytest.mark.parametrize("head", ["tied", "mos", "simplex"])
    def test_a_repeating_text_is_memorised(self, optimizer, head, tmp_path):
        config = tiny_config(f"optim={optimizer}", f"model/head={head}", "optim.roles.head.lr=0.05")
        text = np.tile(np.random.default_rng(1).permutation(23)[:17], 40)
        job, _ = configured_job(config, tiny_model(config, seed=None), 50, tiny_stream(config, text))
        _, events = trained(job, loop_settings(config), tmp_path)
        assert events[0]["train_nats"] == pytest.approx(math.log(23), abs=0.1)
        assert events[-1]["train_nats"] < 0.5 * events[0]["train_nats"]

    def test_random_tokens_teach_nothing_below_their_entropy(self, tmp_path):
        job, _ = configured_job(
            CONFIG,
            tiny_model(CONFIG, seed=None),
            10,
            tiny_stream(CONFIG, np.random.default_rng(0).integers(0, 23, 50_000)),
        )
        _, events = trained(job, loop_settings(CONFIG), tmp_path)
        assert events[-1]["train_nats"] > 0.9 * math.log(23)


class TestBudgetAndRates:
    def test_steps(self, tmp_path):
        trace, events = trained(sgd_job(tiny_model(CONFIG), steps=5), loop_settings(CONFIG), tmp_path)
        assert trace.steps == len(trace.step_ms) == 5
        assert [e["step"] for e in events] == [1, 2, 3, 4, 5]
        assert [e["tokens"] for e in events] == [64, 128, 192, 256, 320]
        assert trace.train_s >= events[-1]["elapsed_s"] - 1e-3 > 0

    def test_seconds_end_at_the_first_step_that_reaches_them(self, tmp_path):
        job = sgd_job(tiny_model(CONFIG), steps=0, budget=Budget(None, 0.15))
        trace, events = trained(job, loop_settings(CONFIG), tmp_path)
        assert trace.train_s >= 0.15
        assert events[-1]["step"] == trace.steps
        if trace.steps > 1:
            assert events[-2]["elapsed_s"] <= 0.15

    def test_each_group_runs_at_its_own_rate_times_the_schedule(self, tmp_path):
        model = tiny_model(CONFIG)
        budget = Budget(6, None)
        job, _ = configured_job(
            CONFIG, model, 6, budget=budget, schedule=StepWarmdown(budget, start_step=2, warmdown_steps=4)
        )
        base = [optimizer.param_groups[0]["lr"] for optimizer in job.optimizers]
        _, events = trained(job, loop_settings(CONFIG), tmp_path)
        assert [e["lr_scale"] for e in events] == [1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
        assert [o.param_groups[0]["lr"] for o in job.optimizers] == [rate * 0.25 for rate in base]

    def test_a_rate_of_zero_changes_nothing(self, tmp_path):
        model = tiny_model(CONFIG)
        before = bytes_of_state(model)
        budget = Budget(3, None)
        job = sgd_job(model, steps=3, budget=budget, schedule=lambda step, elapsed_s: 0.0)
        trained(job, loop_settings(CONFIG), tmp_path)
        assert bytes_of_state(model) == before


class TestReport:
    def test_loss_and_bits_per_byte_are_those_of_the_step(self, tmp_path):
        model = tiny_model(CONFIG)
        stream = tiny_stream(CONFIG)
        x, y = (torch.cat(part) for part in zip(*(stream.micro_batch(0, i) for i in range(2)), strict=True))
        with torch.no_grad():
            nats = float(model(x, y).double().mean())
        _, events = trained(
            sgd_job(model, steps=1, bytes_of=lambda x, y: 3 * y.numel()), loop_settings(CONFIG), tmp_path
        )
        assert events[0]["train_nats"] == pytest.approx(nats, rel=1e-6)
        assert events[0]["train_bpb"] == pytest.approx(nats / math.log(2) / 3, rel=1e-6)

    def test_lines_stand_at_the_first_every_nth_and_last_step(self, tmp_path):
        _, events = trained(sgd_job(tiny_model(CONFIG), steps=11), loop_settings(CONFIG, log_every=4), tmp_path)
        assert [e["step"] for e in events] == [1, 4, 8, 11]

    def test_validation_comes_every_nth_step_but_the_last_and_off_the_clock(self, tmp_path):
        calls = []

        def validate() -> float:
            calls.append(1)
            torch.ones(400, 400).matmul(torch.ones(400, 400))
            return 1.25

        trace, events = trained(
            sgd_job(tiny_model(CONFIG), steps=9, validate=validate), loop_settings(CONFIG, val_every=3), tmp_path
        )
        vals = [e for e in events if e["event"] == "val"]
        assert [e["step"] for e in vals] == [3, 6]
        assert all(e["val_bpb_live"] == 1.25 for e in vals)
        assert len(calls) == 2
        assert trace.train_s == pytest.approx(sum(trace.step_ms) / 1000, rel=0.02)

    def test_the_other_ranks_write_nothing(self, tmp_path):
        with RunLog(tmp_path, is_first=False) as log:
            train(sgd_job(tiny_model(CONFIG), steps=1), loop_settings(CONFIG), Ranks(), log)
        assert list(tmp_path.iterdir()) == []
