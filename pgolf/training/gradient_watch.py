"""Watches the first training steps: a trained parameter without a gradient ends the run."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pgolf.errors import CoverageError


class GradientWatch:
    """Over the first steps, the trained parameters whose gradient was missing or exactly zero every time.

    A parameter that the loss never reaches is as untrained as one without an optimizer. Weights that start at zero hold
    the gradient of what lies behind them back for a step, and such weights can stand in a row: fewer than PROOF_STEPS
    steps prove nothing.
    """

    WATCHED_STEPS = 20
    PROOF_STEPS = 5

    def __init__(self, trained: dict[str, nn.Parameter]):
        self.silent, self.steps = {name: p for name, p in trained.items() if p.numel()}, 0

    def state_dict(self) -> dict[str, Any]:
        return {"silent": sorted(self.silent), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.silent = {name: self.silent[name] for name in state["silent"]}
        self.steps = state["steps"]

    @torch.no_grad()
    def after_backward(self) -> None:
        """Look at the gradients of one step; raises CoverageError at the last watched step."""
        if self.steps == self.WATCHED_STEPS:
            return
        self.silent = {name: p for name, p in self.silent.items() if p.grad is None or not bool(p.grad.any())}
        self.steps += 1
        if self.steps == self.WATCHED_STEPS:
            self.finish()

    def finish(self) -> list[str]:
        """Raise CoverageError for parameters without a gradient. After too few steps, return warnings instead."""
        if not self.silent:
            return []
        names = sorted(self.silent)
        if self.steps < self.PROOF_STEPS:
            return [f"no gradient in {self.steps} steps, too few to tell why: {', '.join(names)}"]
        raise CoverageError(
            f"no gradient in {self.steps} steps: {', '.join(names)}. Use them in the forward pass, or freeze them on "
            "purpose with "
            f"optim.frozen=[{','.join(names)}]"
        )
