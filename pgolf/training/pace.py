"""When training waits for the device: the losses that have not been read yet, and the clock of the steps.

A GPU works behind the process that gives it work. Reading a loss or the clock means to wait for it, and afterwards it
has nothing to do until the process has caught up. So the process waits only where it must:

update   before every update of the weights: on a CPU, which computes at once, so that waiting costs nothing
step     once after every step: on a GPU with a budget in seconds, since the clock decides which step is the last
log      with each line of the log: on a GPU with a budget in steps or tokens
"""

import math
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from pgolf.errors import DivergedError
from pgolf.machine.precision import synchronise
from pgolf.machine.ranks import Ranks

Wait = Literal["update", "step", "log"]


def wait_of(device: torch.device, seconds: float | None) -> Wait:
    """When training on a device waits for it. seconds: the budget, if it is one in seconds."""
    if device.type == "cpu":
        return "update"
    return "log" if seconds is None else "step"


@dataclass
class Trace:
    """The progress of training, and its result.

    train_s: training time in seconds, which counts against the budget. priming_s: time before its clock started, for
    passes that are not trained on and for compilation. val_bpb_live: the latest validation, NaN if
    none. step_ms: the time of each step; the mean of those between two waits for the device. qat_from_step: the first
    step with fake quantization.
    """

    steps: int = 0
    train_s: float = 0.0
    priming_s: float = 0.0
    val_bpb_live: float = float("nan")
    step_ms: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    qat_from_step: int | None = None

    @property
    def step_ms_median(self) -> float:
        return median(self.step_ms) if self.step_ms else 0.0


@dataclass(frozen=True)
class StepLoss:
    """The loss of one step on this rank. step: counted from 0. nats: a scalar on the device, fp64; this rank's share of
    the mean over all targets. target_bytes: of the targets of this rank.
    """

    step: int
    nats: Tensor
    target_bytes: int


class Pace:
    """The steps since the last wait for the device.

    nats, target_bytes: of the last step that was read, over all ranks.
    """

    def __init__(self, trace: Trace, device: torch.device, ranks: Ranks):
        self.trace, self.device, self.ranks = trace, device, ranks
        self.unread: list[StepLoss] = []
        self.nats, self.target_bytes = float("nan"), 0
        self.began: float | None = None

    def begin(self) -> None:
        """Start the clock, unless it has been running since an earlier step."""
        if self.began is None:
            self.began = time.perf_counter()

    def read(self) -> None:
        """Read the losses. Raises DivergedError, on all ranks, for the first one that is not finite."""
        if not self.unread:
            return
        nats = torch.stack([loss.nats for loss in self.unread])
        sizes = torch.tensor([float(loss.target_bytes) for loss in self.unread], dtype=nats.dtype)
        totals = self.ranks.sum_(torch.stack([nats.cpu(), sizes])).tolist()
        steps, self.unread = [loss.step for loss in self.unread], []
        for step, value in zip(steps, totals[0], strict=True):
            if not math.isfinite(value):
                raise DivergedError(f"the training loss is {value} at step {step + 1}. Lower the learning rates")
        self.nats, self.target_bytes = totals[0][-1], int(totals[1][-1])

    def settle(self) -> None:
        """Wait for the device, read the losses, and stop the clock. Does nothing if no step was taken since."""
        if self.began is None:
            return
        self.read()
        synchronise(self.device)
        elapsed_s, self.began = time.perf_counter() - self.began, None
        steps = self.trace.steps - len(self.trace.step_ms)
        self.trace.train_s = self.ranks.max(self.trace.train_s + elapsed_s)
        self.trace.step_ms += [elapsed_s * 1000 / steps] * steps
