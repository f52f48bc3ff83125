"""Learning-rate schedules: the scale of every role's base rate, as a pure function of (step, elapsed_s).

A budget sets either steps or seconds. `step` counts finished steps, so the first step uses the scale at step 0.
"""

from dataclasses import dataclass

from pgolf.errors import OptionError, require


@dataclass(frozen=True)
class Budget:
    """The end of training: after `steps`, or after the first step that ends at `seconds` or later. One is set."""

    steps: int | None
    seconds: float | None

    def spent(self, step: int, elapsed_s: float) -> float:
        """The used fraction of the budget, 1.0 at the end."""
        return step / self.steps if self.steps is not None else elapsed_s / self.limit_s

    @property
    def limit_s(self) -> float:
        """The budget in seconds, where one is set."""
        assert self.seconds is not None
        return self.seconds


class Constant:
    """scale = 1."""

    def __init__(self, budget: Budget):
        pass

    def __call__(self, step: int, elapsed_s: float) -> float:
        return 1.0


class StepWarmdown:
    """scale = 1 before start_step, then linear to 0 over warmdown_steps, then 0. Needs a budget in steps or tokens."""

    def __init__(self, budget: Budget, *, start_step: int, warmdown_steps: int):
        if budget.steps is None:
            raise OptionError(
                "_target_",
                "StepWarmdown",
                "it needs a budget in steps or tokens, not in seconds; use optim/schedule=wallclock_warmdown",
            )
        require(start_step >= 0, "start_step", start_step, "choose 0 or more")
        require(warmdown_steps >= 1, "warmdown_steps", warmdown_steps, "choose 1 or more")
        self.start_step, self.warmdown_steps = start_step, warmdown_steps

    def __call__(self, step: int, elapsed_s: float) -> float:
        return min(1.0, max(0.0, 1 - (step - self.start_step) / self.warmdown_steps))


class WallclockWarmdown:
    """scale = 1, then linear to 0 at the end of the budget. One key sets the length of the warmdown; the other is null.

    warmdown_fraction: length as a fraction of the budget, in (0, 1]. warmdown_steps: length in steps. Under a budget in
    seconds, the warmdown then begins when (seconds left) / (mean seconds per step so far) falls to that number, as in
    the published runs. Under a budget in steps the scale does not depend on the clock.
    """

    def __init__(self, budget: Budget, *, warmdown_fraction: float | None, warmdown_steps: int | None):
        exactly_one = (warmdown_fraction is None) != (warmdown_steps is None)
        require(
            exactly_one,
            "warmdown_fraction",
            warmdown_fraction,
            "set exactly one of warmdown_fraction and warmdown_steps, the other to null",
        )
        in_range = warmdown_fraction is None or 0 < warmdown_fraction <= 1
        require(in_range, "warmdown_fraction", warmdown_fraction, "choose a number above 0 and at most 1")
        require(warmdown_steps is None or warmdown_steps >= 1, "warmdown_steps", warmdown_steps, "choose 1 or more")
        self.budget, self.fraction, self.steps = budget, warmdown_fraction, warmdown_steps

    def __call__(self, step: int, elapsed_s: float) -> float:
        left = 1 - self.budget.spent(step, elapsed_s)
        if self.fraction is not None:
            return min(1.0, max(left, 0.0) / self.fraction)
        assert self.steps is not None
        if self.budget.steps is not None:
            return min(1.0, (self.budget.steps - step) / self.steps)
        left_s = max(left, 0.0) * self.budget.limit_s
        warmdown_s = self.steps * elapsed_s / max(step, 1)
        return 1.0 if left_s > warmdown_s else left_s / max(warmdown_s, 1e-9)
