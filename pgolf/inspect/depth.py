"""What each block contributes: the score without it, and how far it turns the residual stream.

Shapes: B batch, T time, D model width, L passes through the blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgolf.nn.gpt import GPT

BlockCall = Callable[..., Tensor]


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
def replaced_passes(model: GPT, passes: Sequence[BlockCall]) -> Iterator[None]:
    """A context in which a model runs other blocks. The model itself is unchanged afterwards."""
    model.passes = lambda: list(passes)  # type: ignore[method-assign, arg-type]
    try:
        yield
    finally:
        del model.passes


def unchanged(x_BTD: Tensor, **_: Any) -> Tensor:
    """A skipped pass: the stream goes on as it is, without the pass's residual mixing too."""
    return x_BTD


def skipped_scores(model: GPT, bpb_of: Callable[[GPT], float]) -> list[float]:
    """The score of a model without one pass, for each pass."""
    passes = model.passes()
    scores = []
    for skipped in range(len(passes)):
        with replaced_passes(model, [unchanged if i == skipped else block for i, block in enumerate(passes)]):
            scores.append(bpb_of(model))
    return scores


@torch.no_grad()
def streams(model: GPT, ids_BT: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The residual stream [B, T, D] before and after each pass, in float64."""
    before: list[Tensor] = []
    after: list[Tensor] = []

    def recording(block: BlockCall) -> BlockCall:
        def call(x_BTD: Tensor, **rest: Any) -> Tensor:
            before.append(x_BTD.double())
            y_BTD = block(x_BTD, **rest)
            after.append(y_BTD.double())
            return y_BTD

        return call

    with replaced_passes(model, [recording(block) for block in model.passes()]):
        model.hidden(ids_BT)
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
