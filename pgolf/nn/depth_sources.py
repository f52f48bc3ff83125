"""What depth variants share that combine earlier outputs. Shapes: B batch, T time, D width, S sources."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pgolf.slots import Block, Role

KEY_EPS = 1e-6  # of the keys' norm: outputs start at zero, where a smaller one would turn rounding into directions


class SourceReader(nn.Module):
    """A depth variant in which readers, numbered in order, take weighted sums of the outputs before them.

    undecayed: no optimizer decays these weights (`pgolf.config.build`). Attention Residuals ask for that, and the
    variants are compared with one another. kept: what is read outside of these sums, for a table. hides, look: set by
    pgolf.inspect. hides says whether a reader (first argument) does not get a source (second); look sees a reader's
    number and weights.
    """

    undecayed = True
    kept = "the embedding, as the only input of the first sublayer"
    hides: Callable[[int, int], bool] | None = None
    look: Callable[[int, Sequence[Tensor]], None] | None = None

    def roles(self) -> dict[str, Role]:
        return {name: "scalar" for name, _ in self.named_parameters()}

    def source_name(self, source: int) -> str:
        """What a source is: `embedding`, or the output of a sublayer. Sublayers are numbered from 1, two per block."""
        return "embedding" if source == 0 else sublayer_name(source)

    def attend(self, reader: int, logits_BT: Sequence[Tensor], sources_BTD: Sequence[Tensor]) -> Tensor:
        """The mean for one reader, weighted by the softmax of logits [B, T], [B, T, D]."""
        return self.read(reader, attention_weights(self.shown(reader, logits_BT, -torch.inf)), sources_BTD)

    def read(self, reader: int, weights: Sequence[Tensor], sources_BTD: Sequence[Tensor]) -> Tensor:
        """The weighted sum for one reader, [B, T, D]."""
        weights = self.shown(reader, weights, 0.0)
        if self.look is not None:
            self.look(reader, weights)
        return weighted_sum(weights, sources_BTD)

    def shown(self, reader: int, values: Sequence[Tensor], absent: float) -> Sequence[Tensor]:
        """The same values, with `absent` for each source that the reader does not get."""
        hides = self.hides
        if hides is None:
            return values
        return [torch.full_like(v, absent) if hides(reader, i) else v for i, v in enumerate(values)]


def sublayer_name(sublayer: int) -> str:
    """`attention 0` for sublayer 1, `MLP 0` for sublayer 2, `attention 1` for sublayer 3; the number is the block's."""
    return f"{'attention' if sublayer % 2 else 'MLP'} {(sublayer - 1) // 2}"


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
