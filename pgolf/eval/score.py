"""Bits per byte of a model on validation tokens: bpb = nats / ln 2 / bytes, summed in float64, every target exactly
once.
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

Nll = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """nats_sum and bytes are totals over `targets` scored targets; nats_per_target [N-1] is NaN where a target was left
    out.
    """

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
        return self.nats_sum / math.log(2) / self.bytes


def batches(windows: Sequence[Window], batch_tokens: int) -> list[list[Window]]:
    """Windows of one shape together, at most batch_tokens tokens (or one window) a batch."""

    def shape(w: Window) -> tuple[int, int]:
        return w.stop - w.start, w.stop - w.scored

    made = []
    for (length, _), same in groupby(sorted(windows, key=lambda w: (shape(w), w.start)), key=shape):
        group, size = list(same), max(1, batch_tokens // length)
        made += [group[i : i + size] for i in range(0, len(group), size)]
    return made


def planned_windows(mode: EvalMode, targets: int) -> list[Window]:
    """A mode's windows; raises DataError where they score nothing."""
    windows = mode.windows(targets)
    if not windows:
        raise DataError(
            f"eval={mode.name}: leaves none of the {targets} validation targets to score; use more text or another mode"
        )
    return windows


@torch.inference_mode()
def score(
    nll: Nll,
    tokens_N: np.ndarray,
    bytes_N1: np.ndarray,
    mode: EvalMode,
    *,
    device: torch.device,
    batch_tokens: int,
    ranks: Ranks,
) -> Score:
    """Score validation tokens.

    nll(ids [B, T], targets [B, S]) gives nats [B, S] of the last S targets: no logits are built for what a window does
    not score. bytes_N1: bytes of each of the N-1 targets. Batches are dealt to the ranks in turn. Asserts that each
    target was scored once.
    """
    targets = len(tokens_N) - 1
    windows = planned_windows(mode, targets)
    nats = torch.zeros(targets, dtype=torch.float64)
    times = torch.zeros(targets, dtype=torch.int32)
    tokens = torch.from_numpy(tokens_N.astype(np.int64))
    for batch in batches(windows, batch_tokens)[ranks.rank :: ranks.world]:
        ids = torch.stack([tokens[w.start : w.stop] for w in batch])
        wanted = torch.stack([tokens[w.scored + 1 : w.stop + 1] for w in batch])
        got = nll(ids.to(device), wanted.to(device)).double().cpu()
        for window, row in zip(batch, got, strict=True):
            nats[window.scored : window.stop] = row
            times[window.scored : window.stop] += 1
    nats, times = ranks.sum_(nats.to(device)).cpu(), ranks.sum_(times.to(device)).cpu()
    scored = times.numpy() > 0
    planned = sum(w.stop - w.scored for w in windows)
    assert times.max() == 1, f"{mode.name}: a target was scored {times.max()} times"
    assert scored.sum() == planned, f"{mode.name}: {planned} targets planned, {scored.sum()} scored"
    per_target = np.where(scored, nats.numpy(), np.nan)
    return Score(float(nats.sum()), int(scored.sum()), int(bytes_N1[scored].sum()), mode.name, per_target)


@torch.inference_mode()
def estimate(
    nll: Nll,
    tokens_N: np.ndarray,
    bytes_N1: np.ndarray,
    windows: Sequence[Window],
    *,
    device: torch.device,
    batch_tokens: int,
    ranks: Ranks,
) -> tuple[float, float]:
    """(nats per target, bits per byte) where the mean loss of each whole window stands for the targets that it calls
    scored.
    """
    total = torch.zeros(2, dtype=torch.float64)
    tokens = torch.from_numpy(tokens_N.astype(np.int64))
    for batch in batches(windows, batch_tokens)[ranks.rank :: ranks.world]:
        ids = torch.stack([tokens[w.start : w.stop] for w in batch])
        wanted = torch.stack([tokens[w.start + 1 : w.stop + 1] for w in batch])
        means = nll(ids.to(device), wanted.to(device)).double().mean(1).cpu()
        stood_for = torch.tensor([w.stop - w.scored for w in batch], dtype=torch.float64)
        total += torch.stack(
            [(means * stood_for).sum(), torch.tensor(float(sum(bytes_N1[w.scored : w.stop].sum() for w in batch)))]
        )
    nats, size = ranks.sum_(total.to(device)).tolist()
    return nats / sum(w.stop - w.scored for w in windows), nats / math.log(2) / size
