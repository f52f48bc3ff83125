"""Checks in the first training steps that every trainable parameter gets a gradient."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pgolf.errors import CoverageError


def silent_of(parameters: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Those whose gradient is missing or exactly zero. A GPU is asked once, not once per parameter."""
    flags = {name: p.grad.any() for name, p in parameters.items() if p.grad is not None}
    heard = dict(zip(flags, torch.stack(list(flags.values())).tolist(), strict=True)) if flags else {}
    return {name: p for name, p in parameters.items() if not heard.get(name, False)}


class GradientWatch:
    """Tracks the trainable parameters whose gradient was missing or exactly zero in every step so far.

    A parameter without an effect on the loss stays untrained, as without an optimizer. Weights that start at zero block
    the gradient of the layers before them for one step, and several such layers can follow each other. Therefore fewer
    than PROOF_STEPS steps prove nothing.
    """

    WATCHED_STEPS = 20
    PROOF_STEPS = 5

    def __init__(self, trainable: dict[str, nn.Parameter]):
        self.silent, self.steps = {name: p for name, p in trainable.items() if p.numel()}, 0

    def state_dict(self) -> dict[str, Any]:
        return {"silent": sorted(self.silent), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.silent = {name: self.silent[name] for name in state["silent"]}
        self.steps = state["steps"]

    @torch.no_grad()
    def after_backward(self) -> None:
        """Check the gradients of one step. Raises CoverageError in the last watched step."""
        if self.steps == self.WATCHED_STEPS:
            return
        self.silent = silent_of(self.silent)
        self.steps += 1
        if self.steps == self.WATCHED_STEPS:
            self.finish()

    def finish(self) -> list[str]:
        """Raise CoverageError if there are parameters without a gradient; after too few steps, return warnings."""
        if not self.silent:
            return []
        names = sorted(self.silent)
        if self.steps < self.PROOF_STEPS:
            return [f"no gradient in {self.steps} steps, too few to tell why: {', '.join(names)}"]
        raise CoverageError(
            f"no gradient in {self.steps} steps: {', '.join(names)}. Use them in the forward pass, or freeze them with "
            f"optim.frozen=[{','.join(names)}]"
        )
