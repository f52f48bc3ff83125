"""Averages of the weights over training, in fp32. A run with an average packs it instead of the last weights."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from pgolf.errors import require

State = Mapping[str, Tensor]


class Averaging(Protocol):
    """`optim.averaging`: called with the weights before the first step and after every step."""

    def start(self, state: State) -> None:
        """Begin with the initial weights, by name."""

    def update(self, step: int, scale: float, state: State) -> None:
        """Take in the weights after a step. step: finished steps; scale: the learning-rate scale of the last step."""

    def average(self) -> dict[str, Tensor] | None:
        """The averaged weights in fp32, by name; None if there is nothing to average."""

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: tensors and numbers."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint. Call `start` first."""


class NoAveraging:
    """No average: the last weights are packed."""

    def start(self, state: State) -> None:
        pass

    def update(self, step: int, scale: float, state: State) -> None:
        pass

    def average(self) -> dict[str, Tensor] | None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class ExponentialAverage:
    """avg <- decay avg + (1 - decay) w after every step. Starts at the initial weights, without bias correction."""

    def __init__(self, *, decay: float):
        require(0 <= decay < 1, "decay", decay, "choose from 0 up to, not including, 1")
        self.decay = decay
        self.state: dict[str, Tensor] = {}

    def start(self, state: State) -> None:
        self.state = {name: w.detach().float().clone() for name, w in state.items()}

    @torch.no_grad()
    def update(self, step: int, scale: float, state: State) -> None:
        for name, w in state.items():
            self.state[name].mul_(self.decay).add_(w.float(), alpha=1 - self.decay)

    def average(self) -> dict[str, Tensor] | None:
        return dict(self.state)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, average in self.state.items():
            average.copy_(state[name])


class SnapshotAverage:
    """Mean of snapshots with equal weights: stochastic weight averaging (arXiv 1803.05407).

    A snapshot is taken at every multiple of interval_steps from start_step on. After a step at learning rate zero the
    snapshot would repeat the one before; it is left out unless include_zero_lr.
    """

    def __init__(self, *, start_step: int, interval_steps: int, include_zero_lr: bool):
        require(start_step >= 0, "start_step", start_step, "choose 0 or more")
        require(interval_steps >= 1, "interval_steps", interval_steps, "choose 1 or more")
        self.start_step, self.interval_steps, self.include_zero_lr = start_step, interval_steps, include_zero_lr
        self.sum: dict[str, Tensor] = {}
        self.snapshots = 0

    def start(self, state: State) -> None:
        self.sum = {name: torch.zeros_like(w, dtype=torch.float32) for name, w in state.items()}
        self.snapshots = 0

    @torch.no_grad()
    def update(self, step: int, scale: float, state: State) -> None:
        if step < self.start_step or step % self.interval_steps or (scale == 0 and not self.include_zero_lr):
            return
        self.snapshots += 1
        for name, w in state.items():
            self.sum[name].add_(w.float())

    def average(self) -> dict[str, Tensor] | None:
        return {name: total / self.snapshots for name, total in self.sum.items()} if self.snapshots else None

    def state_dict(self) -> dict[str, Any]:
        return {"sum": dict(self.sum), "snapshots": self.snapshots}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.snapshots = state["snapshots"]
        for name, total in self.sum.items():
            total.copy_(state["sum"][name])
