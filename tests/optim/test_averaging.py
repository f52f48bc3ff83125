"""Averages of weights, by their formulas."""

import math

import pytest
import torch

from pgolf.config.build import build_averaging, build_budget, build_schedule
from pgolf.errors import OptionError
from pgolf.optim.averaging import ExponentialAverage, NoAveraging, SnapshotAverage
from tiny import published_config, stack_config, stems, tiny_config


def weights(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {"a": torch.randn(3, 4, generator=generator), "b": torch.randn((), generator=generator)}


def fed(averaging, steps: int, scale=lambda step: 1.0, state=weights):
    averaging.start(state(0))
    for step in range(1, steps + 1):
        averaging.update(step, scale(step), state(step))
    return averaging.average()


def close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name].dtype == torch.float32
        torch.testing.assert_close(actual[name].double(), expected[name].double(), rtol=1e-5, atol=1e-6)


def test_no_averaging_has_no_average():
    assert fed(NoAveraging(), 5) is None


class TestExponential:
    @pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
    def test_formula_from_the_initial_weights(self, decay):
        expected = {name: decay**7 * w.double() for name, w in weights(0).items()}
        for step in range(1, 8):
            for name, w in weights(step).items():
                expected[name] = expected[name] + (1 - decay) * decay ** (7 - step) * w.double()
        close(fed(ExponentialAverage(decay=decay), 7), expected)

    def test_no_decay_is_the_last_weights_and_no_step_the_first(self):
        last = fed(ExponentialAverage(decay=0.0), 4)
        assert all(torch.equal(last[name], w) for name, w in weights(4).items())
        first = fed(ExponentialAverage(decay=0.9), 0)
        assert all(torch.equal(first[name], w) for name, w in weights(0).items())

    def test_the_start_is_a_copy_and_there_is_no_bias_correction(self):
        live = {"a": torch.ones(2)}
        average = ExponentialAverage(decay=0.75)
        average.start(live)
        live["a"].zero_()
        average.update(1, 1.0, live)
        assert torch.equal(average.average()["a"], torch.full((2,), 0.75))

    def test_a_rate_of_zero_counts_like_any_other(self):
        close(fed(ExponentialAverage(decay=0.5), 4, scale=lambda step: 0.0), fed(ExponentialAverage(decay=0.5), 4))

    def test_bf16_weights_are_averaged_in_fp32(self):
        average = ExponentialAverage(decay=0.997)
        average.start({"a": torch.ones(1, dtype=torch.bfloat16)})
        for step in range(50):
            average.update(step + 1, 1.0, {"a": torch.full((1,), 2.0, dtype=torch.bfloat16)})
        assert float(average.average()["a"]) == pytest.approx(2 - 0.997**50, rel=1e-5)

    def test_published_decay_is_scaled_so_that_a_run_forgets_as_much(self):
        published = published_config("pr908").optim.averaging["decay"]
        assert published == 0.997
        for steps in (30, 200, 4415):
            decay = stack_config("pr908", f"train.steps={steps}").optim.averaging["decay"]
            assert decay**steps == pytest.approx(0.997**4415, rel=1e-9)


class TestSnapshots:
    def test_the_mean_of_what_was_taken(self):
        actual = fed(SnapshotAverage(start_step=4, interval_steps=3, include_zero_lr=False), 13)
        snapshot_steps = [6, 9, 12]
        close(actual, {name: sum(weights(step)[name].double() for step in snapshot_steps) / 3 for name in weights(0)})

    def test_the_start_counts_when_the_interval_hits_it(self):
        average = SnapshotAverage(start_step=6, interval_steps=3, include_zero_lr=False)
        fed(average, 7)
        assert average.snapshots == 1

    def test_equal_weights_average_to_themselves(self):
        same = weights(3)
        close(
            fed(SnapshotAverage(start_step=0, interval_steps=1, include_zero_lr=False), 251, state=lambda step: same),
            same,
        )

    def test_one_snapshot_is_the_weights(self):
        actual = fed(SnapshotAverage(start_step=9, interval_steps=9, include_zero_lr=False), 9)
        assert all(torch.equal(actual[name], w) for name, w in weights(9).items())

    def test_without_a_snapshot_there_is_no_average(self):
        assert fed(SnapshotAverage(start_step=50, interval_steps=1, include_zero_lr=False), 9) is None
        assert (
            fed(SnapshotAverage(start_step=0, interval_steps=1, include_zero_lr=False), 9, scale=lambda step: 0.0)
            is None
        )

    def test_snapshots_at_rate_zero_are_left_out_unless_asked_for(self):
        def scale(step: int) -> float:
            return 1.0 if step <= 6 else 0.0

        close(
            fed(SnapshotAverage(start_step=5, interval_steps=1, include_zero_lr=False), 10, scale),
            self.mean(range(5, 7)),
        )
        close(
            fed(SnapshotAverage(start_step=5, interval_steps=1, include_zero_lr=True), 10, scale),
            self.mean(range(5, 11)),
        )

    def mean(self, steps: range) -> dict[str, torch.Tensor]:
        return {name: sum(weights(step)[name].double() for step in steps) / len(steps) for name in weights(0)}

    def test_starting_again_forgets(self):
        average = SnapshotAverage(start_step=0, interval_steps=1, include_zero_lr=False)
        fed(average, 5)
        close(fed(average, 2), self.mean(range(1, 3)))


def snapshot_steps(config: dict, steps: int) -> list[int]:
    """The steps at which a run of this configuration takes a snapshot. One number represents its weights."""
    averaging, schedule = (
        build_averaging(config.optim),
        build_schedule(config.optim, build_budget(config.train)),
    )
    averaging.start({"step": torch.zeros(1)})
    steps_taken = []
    for step in range(steps):
        before = averaging.snapshots
        averaging.update(step + 1, schedule(step, 0.0), {"step": torch.ones(1)})
        steps_taken += [step + 1] if averaging.snapshots > before else []
    return steps_taken


def test_the_shared_weights_study_took_351_snapshots_of_251_points():
    config = published_config("pr470")
    assert snapshot_steps(config, 50_000) == list(range(32_500, 45_001, 50))
    config.optim.averaging = published_config("pr470", "defects=pr470").optim.averaging
    with_defect = snapshot_steps(config, 50_000)
    assert with_defect == list(range(32_500, 50_001, 50))
    assert len(with_defect) == 351
    assert len([step for step in with_defect if step >= 45_000]) == 101


@pytest.mark.parametrize(("defects", "last"), [("none", 180), ("pr470", 200)])
def test_snapshots_of_a_cpu_run(defects, last):
    config = stack_config("pr470", "train.steps=200", f"defects={defects}")
    assert snapshot_steps(config, 200) == list(range(130, last + 1))


@pytest.mark.parametrize("stem", stems("optim/averaging"))
def test_every_yaml_starts_updates_and_averages(stem):
    averaging = build_averaging(tiny_config(f"optim/averaging={stem}").optim)
    actual = fed(averaging, 30)
    assert (actual is None) == (stem == "none")
    assert actual is None or all(
        math.isfinite(float(w.sum())) and actual[name].shape == w.shape for name, w in weights(0).items()
    )


@pytest.mark.parametrize(("cls", "bad"), [(ExponentialAverage, {"decay": 1.0}), (ExponentialAverage, {"decay": -0.1})])
def test_decays_that_cannot_be_are_refused(cls, bad):
    with pytest.raises(OptionError, match="decay"):
        cls(**bad)


@pytest.mark.parametrize("bad", [{"start_step": -1}, {"interval_steps": 0}])
def test_intervals_that_cannot_be_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        SnapshotAverage(**{"start_step": 0, "interval_steps": 1, "include_zero_lr": False, **bad})
