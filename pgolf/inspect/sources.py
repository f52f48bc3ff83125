"""Whether a model with attention over depth uses a source: the score without it, beside the weight that it gets.

A large weight does not show that a source is used, so each source is removed. Readers and sources are numbered as in
the depth variant. Where it sums blocks of sublayers, a source is such a block.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgolf.nn.depth_sources import SourceReader
from pgolf.nn.gpt import GPT


@dataclass(frozen=True)
class Source:
    """One source. name: what it is. weight: its mean over readers, tokens and, where weights have signs, their absolute
    values.

    readers: how many read it. removed_bpb: the score if no reader gets it. later_bpb: the score if only its first
    reader gets it, None if it has no other.
    """

    number: int
    name: str
    readers: int
    weight: float
    removed_bpb: float
    later_bpb: float | None


@dataclass(frozen=True)
class Sources:
    """Every source of a model. bpb: of the whole model. kept: what is read outside of the weighted sums."""

    bpb: float
    kept: str
    sources: tuple[Source, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"bpb": self.bpb, "kept": self.kept, "sources": [vars(source) for source in self.sources]}


@contextmanager
def looking(depth: SourceReader, look: Callable[[int, Sequence[Tensor]], None]) -> Iterator[None]:
    """A context in which a function sees the weights of every reader."""
    depth.look = look
    try:
        yield
    finally:
        del depth.look


@contextmanager
def without(depth: SourceReader, source: int, readers: Collection[int]) -> Iterator[None]:
    """A context in which some readers do not get a source. The others of a softmax then add up to one again.

    The logit of the source is minus infinity, so that this is exact also where the source has the whole weight.
    """
    depth.hides = lambda reader, i: i == source and reader in readers
    try:
        yield
    finally:
        del depth.hides


@torch.no_grad()
def mean_weights(model: GPT, depth: SourceReader, ids_BT: Tensor) -> dict[int, dict[int, float]]:
    """{source: {reader: mean absolute weight}} on some tokens [B, T]."""
    found: dict[int, dict[int, float]] = {}

    def look(reader: int, weights: Sequence[Tensor]) -> None:
        for source, weight in enumerate(weights):
            found.setdefault(source, {})[reader] = float(weight.double().abs().mean())

    with looking(depth, look):
        model.hidden(ids_BT)
    return found


def sources(model: GPT, bpb: float, bpb_of: Callable[[GPT], float], ids_BT: Tensor) -> Sources | None:
    """Every source of a model, or None if its depth variant does not read sources. bpb: of the whole model."""
    depth = model.depth
    if not isinstance(depth, SourceReader):
        return None
    rows = []
    for number, weights in sorted(mean_weights(model, depth, ids_BT).items()):
        scores: list[float | None] = []
        for readers in (set(weights), set(weights) - {min(weights)}):
            with without(depth, number, readers):
                scores.append(bpb_of(model) if readers else None)
        removed_bpb, later_bpb = scores
        assert removed_bpb is not None
        mean = sum(weights.values()) / len(weights)
        rows.append(Source(number, depth.source_name(number), len(weights), mean, removed_bpb, later_bpb))
    return Sources(bpb, depth.kept, tuple(rows))
