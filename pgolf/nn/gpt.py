"""The trunk: ids -> embedding -> side inputs -> smear -> norm = x0 -> blocks (see the depth slot) -> norm -> head"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from pgolf.nn.attention import Attention
from pgolf.nn.block import Core, Gains, Pass
from pgolf.nn.primitives import rms_norm, rotary_angles
from pgolf.nn.smear import SmearGate
from pgolf.slots import Dims


@dataclass(frozen=True)
class Slots:
    """One factory a slot, called with the arguments that the slot contract names."""

    embedding: Callable[..., nn.Module]
    q_proj: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module]
    depth: Callable[..., nn.Module]
    head: Callable[..., Any]
    side_inputs: Mapping[str, Callable[..., nn.Module]]


@dataclass(frozen=True)
class Trunk:
    """What is the trunk's own to choose.

    unique_blocks: cores; pass i uses core i mod unique_blocks with gains of its own. rotary_dims: dims of a head that
    are rotated, at base rope_base * rope_ntk_factor^(r / (r - 2)) with r = rotary_dims (NTK-aware scaling to a context
    so many times as long). depth_scaled_norm: normed inputs of pass i are divided by sqrt(i + 1). xsa_last_n: exclusive
    self-attention in the last n passes.
    """

    unique_blocks: int
    rope_base: float
    rope_ntk_factor: float
    rotary_dims: int
    rope_bf16_frequencies: bool
    q_gain_init: float
    depth_scaled_norm: bool
    xsa_last_n: int
    smear_gate: bool

    @property
    def rotary_base(self) -> float:
        if self.rope_ntk_factor == 1:
            return self.rope_base
        return self.rope_base * self.rope_ntk_factor ** (self.rotary_dims / (self.rotary_dims - 2))


class GPT(nn.Module):
    """A causal language model over token ids.

    Attribute names are the config paths of the slots, so a parameter's name begins with the path that made it
    (`head.up.weight`).
    """

    def __init__(self, dims: Dims, slots: Slots, trunk: Trunk):
        super().__init__()
        self.dims, self.trunk = dims, trunk
        cores = range(trunk.unique_blocks)
        self.embedding = slots.embedding(dims)
        self.side_inputs = nn.ModuleDict({name: make(dims) for name, make in slots.side_inputs.items()})
        self.smear = SmearGate(dims) if trunk.smear_gate else None
        self.q_proj = nn.ModuleList(slots.q_proj(dims, layer) for layer in cores)
        self.attention = nn.ModuleList(Attention(dims, q_gain_init=trunk.q_gain_init) for _ in cores)
        self.mlp = nn.ModuleList(slots.mlp(dims, layer) for layer in cores)
        self.gains = nn.ModuleList(Gains(dims) for _ in range(dims.layers))
        self.depth = slots.depth(dims)
        self.head = slots.head(dims, self.embedding)

    def passes(self) -> list[Pass]:
        """The model's passes in depth order."""
        cores = [Core(q, a, m) for q, a, m in zip(self.q_proj, self.attention, self.mlp, strict=True)]  # type: ignore[arg-type]
        scaled, layers = self.trunk.depth_scaled_norm, self.dims.layers
        return [
            Pass(cores[i % len(cores)], gains, (i + 1) ** -0.5 if scaled else 1.0, i >= layers - self.trunk.xsa_last_n)  # type: ignore[arg-type]
            for i, gains in enumerate(self.gains)
        ]

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Final normalised states [B, T, D]."""
        e = self.embedding(ids_BT)
        made: dict[str, Any] = {name: (side, side(ids_BT)) for name, side in self.side_inputs.items()}
        for side, tensor in made.values():
            if side.site == "embed":
                e = e + tensor
        x0 = rms_norm(e if self.smear is None else self.smear(e))
        base, bf16 = self.trunk.rotary_base, self.trunk.rope_bf16_frequencies
        rotary = rotary_angles(ids_BT.size(1), self.trunk.rotary_dims, base, ids_BT.device, bf16_frequencies=bf16)

        def added(site: str, layer: int) -> Tensor | None:
            terms = [
                side.gain(layer) * tensor
                for side, tensor in made.values()
                if side.site == site and layer in side.layers
            ]
            return sum(terms[1:], terms[0]) if terms else None

        blocks = [
            partial(block, x0_BTD=x0, rotary=rotary, residual_BTD=added("residual", i), value_BTE=added("value", i))
            for i, block in enumerate(self.passes())
        ]
        return rms_norm(self.depth(x0, blocks))

    def forward(self, ids_BT: Tensor, targets_BS: Tensor) -> Tensor:
        """-log p of the last S targets in nats, fp32 [B, S]; S = T for training, fewer where only a window's end is
        scored.
        """
        return self.head.nll(self.hidden(ids_BT)[:, -targets_BS.size(1) :], targets_BS)
