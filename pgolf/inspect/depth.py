"""What each block contributes: the score without it, and how far it turns the residual stream.

Shapes: B batch, T time, D model width, L passes through the blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgolf.inspect.factored import check_finite
from pgolf.nn.block import Pass
from pgolf.nn.gpt import GPT


@dataclass(frozen=True)
class Depth:
    """bpb: of the whole model. skipped_bpb: without one pass, for each of them.

    angles: between the stream before and after each pass. angles_apart [L + 1][L + 1]: between the streams before two
    passes, the last one being the end of the blocks. Angles are in units of pi, as means over tokens.
    """

    bpb: float
    skipped_bpb: tuple[float, ...]
    angles: tuple[float, ...]
    angles_apart: tuple[tuple[float, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "bpb": self.bpb,
            "skipped_bpb": list(self.skipped_bpb),
            "change_bpb": [skipped - self.bpb for skipped in self.skipped_bpb],
            "angles_pi": list(self.angles),
            "angles_apart_pi": [list(row) for row in self.angles_apart],
        }


@contextmanager
def replaced_passes(model: GPT, passes: Sequence[Any]) -> Iterator[None]:
    """A context in which a model runs other blocks. The model itself is unchanged afterwards."""
    model.passes = lambda: list(passes)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.passes


class Skipped:
    """A pass that is left out: the stream goes on as it is, without residual mixing too, or its outputs are zero."""

    def __call__(self, x_BTD: Tensor, *_: Any) -> Tensor:
        return x_BTD

    def attended(self, x_BTD: Tensor, *_: Any) -> Tensor:
        return torch.zeros_like(x_BTD)

    def fed_forward(self, x_BTD: Tensor) -> Tensor:
        return torch.zeros_like(x_BTD)


@dataclass(frozen=True)
class Recorded:
    """A pass that keeps its stream, in float64: the input of the pass, or of its attention, and the stream after it.

    Where a depth variant has no stream, the end is the input of the MLP plus its output.
    """

    one_pass: Pass
    before: list[Tensor]
    after: list[Tensor]

    def __call__(self, x_BTD: Tensor, *rest: Any) -> Tensor:
        self.before.append(x_BTD.double())
        y_BTD = self.one_pass(x_BTD, *rest)
        self.after.append(y_BTD.double())
        return y_BTD

    def attended(self, x_BTD: Tensor, *rest: Any) -> Tensor:
        self.before.append(x_BTD.double())
        return self.one_pass.attended(x_BTD, *rest)

    def fed_forward(self, x_BTD: Tensor) -> Tensor:
        y_BTD = self.one_pass.fed_forward(x_BTD)
        self.after.append((x_BTD + y_BTD).double())
        return y_BTD


def skipped_scores(model: GPT, bpb_of: Callable[[GPT], float]) -> list[float]:
    """The score of a model without one pass, for each pass."""
    passes = model.passes()
    scores = []
    for skipped in range(len(passes)):
        with replaced_passes(model, [Skipped() if i == skipped else block for i, block in enumerate(passes)]):
            scores.append(bpb_of(model))
    return scores


@torch.no_grad()
def streams(model: GPT, ids_BT: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The residual stream [B, T, D] before and after each pass, in float64. Raises PgolfError if it is not finite."""
    before: list[Tensor] = []
    after: list[Tensor] = []
    with replaced_passes(model, [Recorded(block, before, after) for block in model.passes()]):
        model.hidden(ids_BT)
    for layer, ends in enumerate(zip(before, after, strict=True)):
        check_finite(ends, f"layer {layer}", "its inputs and outputs")
    return before, after


def angle(a_BTD: Tensor, b_BTD: Tensor) -> float:
    """The mean angle between two streams over all tokens, in units of pi: arccos(a.b / |a||b|) / pi.

    atan2 keeps small angles exact, where arccos would lose half of the digits. Source: arXiv 2403.17887.
    """
    a = a_BTD / a_BTD.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    b = b_BTD / b_BTD.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    half = torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    return float(2 * half.mean() / torch.pi)


def depth(model: GPT, bpb_of: Callable[[GPT], float], ids_BT: Tensor) -> Depth:
    """Scores without each pass, and angles on some tokens [B, T]."""
    before, after = streams(model, ids_BT)
    ends = [*before, after[-1]]
    return Depth(
        bpb_of(model),
        tuple(skipped_scores(model, bpb_of)),
        tuple(angle(x, y) for x, y in zip(before, after, strict=True)),
        tuple(tuple(angle(x, y) for y in ends) for x in ends),
    )
