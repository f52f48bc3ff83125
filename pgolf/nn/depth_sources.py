"""What depth variants share that combine earlier outputs. Shapes: B batch, T time, D width, S sources."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pgolf.slots import Block, Role

KEY_EPS = 1e-6  # of the keys' norm: outputs start at zero, where a smaller one would turn rounding into directions


class SourceReader(nn.Module):
    """A depth variant in which readers, numbered in order, take weighted sums of the outputs before them.

    is_mean: whether a reader's weights are positive and add up to one. look: sees the number of a reader and its
    weights, and may return others; pgolf.inspect sets it.
    """

    is_mean = True
    look: Callable[[int, Sequence[Tensor]], Sequence[Tensor]] | None = None

    def roles(self) -> dict[str, Role]:
        return {name: "scalar" for name, _ in self.named_parameters()}

    def read(self, reader: int, weights: Sequence[Tensor], sources_BTD: Sequence[Tensor]) -> Tensor:
        """The weighted sum for one reader, [B, T, D]."""
        return weighted_sum(weights if self.look is None else self.look(reader, weights), sources_BTD)


def sublayers(blocks: Sequence[Block]) -> list[Callable[[Tensor], Tensor]]:
    """Attention and MLP of every block in order, each x [B, T, D] to its output [B, T, D]."""
    return [sublayer for block in blocks for sublayer in (block.attention, block.mlp)]


def weighted_sum(weights: Sequence[Tensor], sources_BTD: Sequence[Tensor]) -> Tensor:
    """sum_i a_i v_i, [B, T, D], of S sources v_i [B, T, D] and their weights a_i, [] or [B, T, 1]."""
    total_BTD = weights[0] * sources_BTD[0]
    for a, v_BTD in zip(weights[1:], sources_BTD[1:], strict=True):
        total_BTD = torch.addcmul(total_BTD, a, v_BTD)
    return total_BTD


def inverse_rms(v_BTD: Tensor) -> Tensor:
    """1 / sqrt(mean(v^2) + KEY_EPS) over the width, [B, T]."""
    return (v_BTD.square().mean(-1) + KEY_EPS).rsqrt()


def attention_weights(logits_BT: Sequence[Tensor]) -> list[Tensor]:
    """The softmax over S sources of their logits [B, T]: S tensors [B, T, 1]."""
    return list(torch.stack(list(logits_BT)).softmax(0).unsqueeze(-1).unbind(0))
