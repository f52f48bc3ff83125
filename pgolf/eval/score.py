"""Bits per byte of a model on validation tokens: bpb = nats / ln 2 / bytes, summed in float64.

Shapes: N validation tokens, so N-1 targets; B windows per batch, T tokens per window, S scored targets per window.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from pgolf.errors import DataError
from pgolf.machine.ranks import Ranks
from pgolf.slots import EvalMode, Window

Nll = Callable[[Tensor, Tensor], Tensor]  # (ids [B, T], targets [B, S]) -> nats [B, S] of the last S targets


@dataclass(frozen=True)
class Batching:
    """How windows are grouped into forward passes: at most batch_tokens tokens each, dealt to the ranks in turn."""

    device: torch.device
    batch_tokens: int
    ranks: Ranks

    def own_batches(self, windows: Sequence[Window]) -> list[list[Window]]:
        """The batches of this rank."""
        return batches(windows, self.batch_tokens)[self.ranks.rank :: self.ranks.world]

    def sum_over_ranks(self, tensor: Tensor) -> Tensor:
        """The sum of a CPU tensor over ranks, on the CPU."""
        return self.ranks.sum_(tensor.to(self.device)).cpu()


@dataclass(frozen=True)
class Score:
    """nats_sum and bytes are totals over the `targets` scored targets. nats_per_target [N-1] is NaN for the others."""

    nats_sum: float
    targets: int
    bytes: int
    mode: str
    nats_per_target: np.ndarray

    @property
    def nats(self) -> float:
        """Mean nats per target."""
        return self.nats_sum / self.targets

    @property
    def bpb(self) -> float:
        """Bits per byte."""
        return self.nats_sum / math.log(2) / self.bytes


def batches(windows: Sequence[Window], batch_tokens: int) -> list[list[Window]]:
    """Batches of windows of equal shape: at most batch_tokens tokens per batch, but at least one window."""

    def shape(w: Window) -> tuple[int, int]:
        return w.stop - w.start, w.stop - w.scored

    result = []
    for (length, _), group in groupby(sorted(windows, key=lambda w: (shape(w), w.start)), key=shape):
        same_shape, size = list(group), max(1, batch_tokens // length)
        result += [same_shape[i : i + size] for i in range(0, len(same_shape), size)]
    return result


def planned_windows(mode: EvalMode, targets: int) -> list[Window]:
    """A mode's windows. Raises DataError if there are none."""
    windows = mode.windows(targets)
    if not windows:
        raise DataError(
            f"eval={mode.name}: scores none of the {targets} validation targets. Use more text or another mode"
        )
    return windows


@torch.inference_mode()
def score(nll: Nll, tokens_N: np.ndarray, bytes_N1: np.ndarray, mode: EvalMode, batching: Batching) -> Score:
    """The score of validation tokens [N] in a mode.

    nll gets the scored targets only, so that no logits are computed for the others. bytes_N1: bytes of each target
    [N-1]. Asserts that each planned target was scored exactly once. Raises DataError if the mode scores no target.
    """
    targets = len(tokens_N) - 1
    windows = planned_windows(mode, targets)
    nats = torch.zeros(targets, dtype=torch.float64)
    times = torch.zeros(targets, dtype=torch.int32)
    tokens = torch.from_numpy(tokens_N.astype(np.int64))
    device = batching.device
    for batch in batching.own_batches(windows):
        ids_BT = torch.stack([tokens[w.start : w.stop] for w in batch])
        targets_BS = torch.stack([tokens[w.scored + 1 : w.stop + 1] for w in batch])
        nats_BS = nll(ids_BT.to(device), targets_BS.to(device)).cpu().double()
        for window, row in zip(batch, nats_BS, strict=True):
            nats[window.scored : window.stop] = row
            times[window.scored : window.stop] += 1
    nats, times = batching.sum_over_ranks(nats), batching.sum_over_ranks(times)
    return summed(nats, times, bytes_N1, mode.name, windows)


def summed(nats_N1: Tensor, times_N1: Tensor, bytes_N1: np.ndarray, name: str, windows: Sequence[Window]) -> Score:
    """The score of a text, from the nats of each target in float64 and the number of times that it was scored.

    Asserts that each target of the windows was scored exactly once, and no other.
    """
    scored, planned = times_N1.numpy() > 0, sum(w.stop - w.scored for w in windows)
    assert times_N1.max() == 1, f"{name}: a target was scored {times_N1.max()} times"
    assert scored.sum() == planned, f"{name}: {planned} targets planned, {scored.sum()} scored"
    per_target = np.where(scored, nats_N1.numpy(), np.nan)
    return Score(float(nats_N1.sum()), int(scored.sum()), int(bytes_N1[scored].sum()), name, per_target)


@torch.inference_mode()
def estimate(
    nll: Nll, tokens_N: np.ndarray, bytes_N1: np.ndarray, windows: Sequence[Window], batching: Batching
) -> tuple[float, float]:
    """(nats per target, bits per byte) if the mean loss of each whole window is taken for its scored targets."""
    total = torch.zeros(2, dtype=torch.float64)  # nats, bytes
    tokens = torch.from_numpy(tokens_N.astype(np.int64))
    device = batching.device
    for batch in batching.own_batches(windows):
        ids_BT = torch.stack([tokens[w.start : w.stop] for w in batch])
        targets_BT = torch.stack([tokens[w.start + 1 : w.stop + 1] for w in batch])
        means_B = nll(ids_BT.to(device), targets_BT.to(device)).cpu().double().mean(1)
        counts_B = torch.tensor([w.stop - w.scored for w in batch], dtype=torch.float64)
        size = sum(bytes_N1[w.scored : w.stop].sum() for w in batch)
        total += torch.stack([(means_B * counts_B).sum(), torch.tensor(float(size))])
    nats, total_bytes = batching.sum_over_ranks(total).tolist()
    return nats / sum(w.stop - w.scored for w in windows), nats / math.log(2) / total_bytes
