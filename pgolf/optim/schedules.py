"""Learning-rate schedules: pure functions of (step, elapsed_s), as a fraction of every role's base rate.

A budget fixes either steps or seconds. `step` counts finished steps: the first step is taken at step 0.
"""

from dataclasses import dataclass

from pgolf.errors import OptionError, require


@dataclass(frozen=True)
class Budget:
    """When training ends: after `steps`, or at the first step whose clock has reached `seconds`. Exactly one is set."""

    steps: int | None
    seconds: float | None

    def spent(self, step: int, elapsed_s: float) -> float:
        """Fraction of the budget used, 1.0 at the end."""
        return step / self.steps if self.steps is not None else elapsed_s / self.limit_s

    @property
    def limit_s(self) -> float:
        assert self.seconds is not None
        return self.seconds


class Constant:
    """scale = 1."""

    def __init__(self, budget: Budget):
        pass

    def __call__(self, step: int, elapsed_s: float) -> float:
        return 1.0


class StepWarmdown:
    """scale = 1 before start_step, then a line to 0 over warmdown_steps, then 0. Needs a budget in steps or tokens."""

    def __init__(self, budget: Budget, *, start_step: int, warmdown_steps: int):
        if budget.steps is None:
            raise OptionError(
                "_target_",
                "StepWarmdown",
                "a budget in seconds has no last step; use optim/schedule=wallclock_warmdown",
            )
        require(start_step >= 0, "start_step", start_step, "choose 0 or more")
        require(warmdown_steps >= 1, "warmdown_steps", warmdown_steps, "choose 1 or more")
        self.start_step, self.warmdown_steps = start_step, warmdown_steps

    def __call__(self, step: int, elapsed_s: float) -> float:
        return min(1.0, max(0.0, 1 - (step - self.start_step) / self.warmdown_steps))


class WallclockWarmdown:
    """scale = 1, then a line to 0 at the end of the budget. Either key says how long the line is; the other is null.

    warmdown_fraction: so much of the budget, seconds or steps. warmdown_steps: so many steps; under a budget in seconds
    it starts when (seconds left) / (mean seconds a step so far) is that number, as in the published runs. Under a
    budget in steps no clock is read.
    """

    def __init__(self, budget: Budget, *, warmdown_fraction: float | None, warmdown_steps: int | None):
        one = (warmdown_fraction is None) != (warmdown_steps is None)
        require(
            one,
            "warmdown_fraction",
            warmdown_fraction,
            "set exactly one of warmdown_fraction and warmdown_steps, the other to null",
        )
        share = warmdown_fraction is None or 0 < warmdown_fraction <= 1
        require(share, "warmdown_fraction", warmdown_fraction, "choose above 0, at most 1")
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
