"""Rates, momentum, averages and fake quantization of each stack, as tables of steps and values."""

import pytest
import torch

from pgolf.config.build import build_averaging, build_budget, build_fake, build_quantizer, build_schedule, make
from pgolf.machine.ranks import Ranks
from pgolf.optim.averaging import ExponentialAverage
from pgolf.quant.fake import FakeQuantized
from pgolf.training.loop import train
from pgolf.training.runlog import RunLog
from tiny import configured_job, cpu_config, loop_settings, published_config, stack_config, tiny_model


def close(value: float):
    return pytest.approx(value, abs=1e-9)


def schedule_of(config: dict):
    return build_schedule(config.optim, build_budget(config.train))


ON_THE_CLOCK = [
    # stack, seconds per step in the published log, (finished steps, scale): full rate up to the first, zero at the last
    (
        "baseline",
        0.04354,
        [(0, 1.0), (12_580, 1.0), (12_581, 0.99953), (13_180, 0.50036), (13_780, 0.00036), (13_781, 0.0)],
    ),
    ("pr215", 0.07759, [(0, 1.0), (4732, 1.0), (4733, 0.99998), (6233, 0.49998), (7717, 0.00532), (7733, 0.0)]),
    ("pr1481", 0.586, [(0, 1.0), (335, 1.0), (336, 0.99986), (936, 0.49986), (1535, 0.0007), (1536, 0.0)]),
    (
        "pr908",
        0.13591,
        [(0, 1.0), (914, 1.0), (915, 0.99991), (2665, 0.49991), (3890, 0.14991), (4414, 0.0002), (4415, 0.0)],
    ),
]


@pytest.mark.parametrize(("stack", "step_s", "table"), ON_THE_CLOCK, ids=[row[0] for row in ON_THE_CLOCK])
def test_rates_at_the_published_budget_and_pace(stack, step_s, table):
    schedule = schedule_of(published_config(stack))
    assert [schedule(step, step * step_s) for step, _ in table] == pytest.approx(
        [scale for _, scale in table], abs=2e-5
    )


def test_rates_of_the_shared_weights_study():
    schedule = schedule_of(published_config("pr470"))
    table = {
        0: 1,
        3999: 1,
        4000: 1,
        4001: 1 - 1 / 41_000,
        24_500: 1 - (24_500 - 4000) / 41_000,
        32_500: 12_500 / 41_000,
    }
    table |= {44_950: 50 / 41_000, 44_999: 1 / 41_000, 45_000: 0, 49_999: 0}
    assert {step: schedule(step, 1e5) for step in table} == close(table)
    assert schedule(45_000, 0.0) == 0.0 < schedule(44_999, 0.0)


IN_STEPS = {
    "baseline": {0: 1, 183: 1, 184: 16 / 17, 199: 1 / 17, 200: 0},
    "pr215": {0: 1, 122: 1, 123: 77 / 78, 161: 0.5, 199: 1 / 78, 200: 0},
    "pr1481": {0: 1, 44: 1, 45: 155 / 156, 122: 0.5, 199: 1 / 156, 200: 0},
    "pr470": {0: 1, 16: 1, 17: 163 / 164, 98: 0.5, 179: 1 / 164, 180: 0, 199: 0},
    "pr908": {0: 1, 41: 1, 42: 158 / 159, 176: 24 / 159, 177: 23 / 159, 199: 1 / 159, 200: 0},
}


@pytest.mark.parametrize("stack", IN_STEPS)
def test_rates_of_200_steps_keep_the_published_shares(stack):
    config = cpu_config(stack)
    assert config.train.steps == 200
    schedule = schedule_of(config)
    assert {step: schedule(step, 1e6) for step in IN_STEPS[stack]} == close(IN_STEPS[stack])


@pytest.mark.parametrize(
    ("stack", "published", "cpu"),
    [
        ("baseline", {0: 0.85, 250: 0.90, 500: 0.95, 13_000: 0.95}, {0: 0.85, 7: 0.95}),
        ("pr215", {0: 0.92, 750: 0.955, 1500: 0.99, 7000: 0.99}, {0: 0.92, 13: 0.92 + 0.07 / 3, 39: 0.99}),
        ("pr1481", {0: 0.85, 250: 0.90, 500: 0.95, 1536: 0.95}, {0: 0.85, 13: 0.87, 65: 0.95}),
        ("pr470", {0: 0.85, 250: 0.90, 500: 0.95, 49_999: 0.95}, {0: 0.85, 1: 0.90, 2: 0.95, 199: 0.95}),
        ("pr908", {0: 0.92, 750: 0.955, 1500: 0.99, 4000: 0.99}, {0: 0.92, 34: 0.955, 68: 0.99}),
    ],
)
def test_momentum(stack, published, cpu):
    """A buffer of ones and a gradient of zero: after a step, the buffer holds the momentum of that step."""
    for config, table in ((published_config(stack), published), (cpu_config(stack), cpu)):
        values = {}
        for step in table:
            p = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
            muon = make("optim.roles.matrix", config.optim.roles.matrix, [p], Ranks())
            muon.param_groups[0]["step"] = step
            muon.state[p]["momentum_buffer"] = torch.ones_like(p)
            p.grad = torch.zeros_like(p)
            muon.step()
            values[step] = float(muon.state[p]["momentum_buffer"][0, 0])
        assert values == close(table)


@pytest.mark.parametrize(("stack", "before", "after"), [("pr215", 0.038, 0), ("pr470", 0, 0.04), ("pr908", 0.04, 0)])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_weight_decay_of_the_matrices_before_or_after_the_update(stack, before, after, scale):
    """w <- (1 - a) ((1 - b) w - u), both with the scheduled rate; u is measured on a weight of zero."""
    node = published_config(stack).optim.roles.matrix
    moved = []
    for start in (0.0, 1.0):
        p = torch.nn.Parameter(torch.full((4, 4), start, dtype=torch.float64))
        muon = make("optim.roles.matrix", node, [p], Ranks())
        muon.param_groups[0]["lr"] *= scale
        p.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        muon.step()
        moved.append(p.detach())
    rate = node["lr"] * scale
    torch.testing.assert_close(
        moved[1] - moved[0], torch.full((4, 4), (1 - rate * before) * (1 - rate * after), dtype=torch.float64)
    )
    plain = torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.float64))
    muon = make("optim.roles.matrix", {**node, "weight_decay": 0.0}, [plain], Ranks())
    muon.param_groups[0]["lr"] *= scale
    plain.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    muon.step()
    torch.testing.assert_close(moved[0], plain.detach() * (1 - rate * after), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("config", "table"),
    [
        (published_config("pr908"), {0: 1.0, 1: 0.997, 231: 0.49954, 1000: 0.04956, 4415: 1.7358e-6}),
        (cpu_config("pr908"), {0: 1.0, 1: 0.93582, 10: 0.51518, 200: 1.7358e-6}),
    ],
    ids=["published", "cpu"],
)
def test_weight_of_the_start_in_the_moving_average(config, table):
    """Ones at the start, zeros after every step: the average is the weight of the start."""
    average = build_averaging(config.optim)
    assert isinstance(average, ExponentialAverage)
    average.start({"w": torch.ones(1)})
    values = {0: 1.0}
    for step in range(1, max(table) + 1):
        average.update(step, 1.0, {"w": torch.zeros(1)})
        if step in table:
            values[step] = float(average.average()["w"])
    assert values == pytest.approx(table, rel=1e-3)


def faked(config: dict, steps: range, step_s: float) -> list[int]:
    schedule, below = schedule_of(config), config.train.qat_below
    return [step for step in steps if below is not None and schedule(step, step * step_s) < below]


@pytest.mark.parametrize("stack", ["baseline", "pr215", "pr1481", "pr470"])
def test_four_stacks_have_no_fake_quantization(stack):
    assert published_config(stack).train.qat_below is None
    assert cpu_config(stack).train.qat_below is None


def test_fake_quantization_of_the_heads_study():
    """The last 525 of 4,415 steps; of 200, the last 23."""
    assert faked(published_config("pr908"), range(4415), 0.13591) == list(range(3890, 4415))
    assert faked(cpu_config("pr908"), range(200), 0.0) == list(range(177, 200))


def test_the_loop_follows_that_table(tmp_path):
    config = stack_config("pr908")
    model, calls = tiny_model(config), []
    forward = FakeQuantized(model, build_fake(config, build_quantizer(config)))

    def quantized(*arguments):
        calls.append(len(arguments))
        return forward(*arguments)

    job, _ = configured_job(config, model, 30, quantized=quantized, schedule=schedule_of(config))
    with RunLog(tmp_path, is_first=False) as log:
        trace = train(job, loop_settings(config, qat_below=config.train.qat_below), Ranks(), log)
    expected = faked(config, range(30), 0.0)
    assert expected == [27, 28, 29]
    assert (trace.qat_from_step, len(calls)) == (27, 2 * len(expected))
