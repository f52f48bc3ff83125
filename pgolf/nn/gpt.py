"""The trunk: ids -> embedding -> norm = x0 -> blocks wired by the depth slot -> norm -> head."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from pgolf.nn.attention import Attention
from pgolf.nn.block import Core, Gains, run_block
from pgolf.nn.primitives import rms_norm, rotary_angles
from pgolf.slots import Dims


@dataclass(frozen=True)
class Slots:
    """One factory a slot, called with the arguments that the slot contract names."""

    embedding: Callable[..., nn.Module]
    q_proj: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module]
    depth: Callable[..., nn.Module]
    head: Callable[..., Any]


class GPT(nn.Module):
    """A causal language model over token ids.

    Attribute names are the config paths of the slots, so a parameter's name begins with the path that made it (`head.up.weight`).
    unique_blocks: how many cores there are; pass i uses core i mod unique_blocks with gains of its own.
    """

    def __init__(self, dims: Dims, slots: Slots, *, unique_blocks: int, rope_base: float, q_gain_init: float):
        super().__init__()
        self.dims, self.rope_base = dims, rope_base
        self.embedding = slots.embedding(dims)
        self.q_proj = nn.ModuleList(slots.q_proj(dims, layer) for layer in range(unique_blocks))
        self.attention = nn.ModuleList(Attention(dims, q_gain_init=q_gain_init) for _ in range(unique_blocks))
        self.mlp = nn.ModuleList(slots.mlp(dims, layer) for layer in range(unique_blocks))
        self.gains = nn.ModuleList(Gains(dims) for _ in range(dims.layers))
        self.depth = slots.depth(dims)
        self.head = slots.head(dims, self.embedding)

    def cores(self) -> list[Core]:
        return [Core(q, a, m) for q, a, m in zip(self.q_proj, self.attention, self.mlp, strict=True)]  # type: ignore[arg-type]

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Final normalised states [B, T, D]."""
        x0 = rms_norm(self.embedding(ids_BT))
        rotary = rotary_angles(ids_BT.size(1), self.dims.head_dim, self.rope_base, ids_BT.device)
        cores = self.cores()
        blocks = [
            partial(run_block, cores[i % len(cores)], gains, x0_BTD=x0, rotary=rotary)  # type: ignore[arg-type]
            for i, gains in enumerate(self.gains)
        ]
        return rms_norm(self.depth(x0, blocks))

    def forward(self, ids_BT: Tensor, targets_BS: Tensor) -> Tensor:
        """-log p of the last S targets in nats, fp32 [B, S]; S = T for training, fewer where only a window's end is scored."""
        return self.head.nll(self.hidden(ids_BT)[:, -targets_BS.size(1) :], targets_BS)
