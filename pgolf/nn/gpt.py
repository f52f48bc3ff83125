"""The trunk: ids -> embedding + side inputs -> smear gate -> norm = x0 -> blocks (in the depth slot) -> norm -> head.

Shapes: B batch, T time, S scored targets, D model width, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.attention import Attention
from pgolf.nn.block import BoundBlock, Core, Gains, Pass
from pgolf.nn.primitives import rms_norm, rotary_angles
from pgolf.nn.resid_mix import starts
from pgolf.nn.smear import SmearGate
from pgolf.slots import Dims


@dataclass(frozen=True)
class Slots:
    """One factory per slot, called with the arguments that the slot contract names."""

    embedding: Callable[..., nn.Module]
    q_proj: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module]
    depth: Callable[..., nn.Module]
    head: Callable[..., Any]
    side_inputs: Mapping[str, Callable[..., nn.Module]]


@dataclass(frozen=True)
class Trunk:
    """Options of the trunk itself, outside the slots.

    unique_blocks: number of cores; pass i uses core i mod unique_blocks, with its own gains. rotary_dims: r, the number
    of rotated dims per head. rope_ntk_factor: NTK-aware scaling to a context this many times as long; the rotary base
    is rope_base * rope_ntk_factor^(r / (r - 2)). rope_bf16_frequencies, rope_bf16_positions: round
    the rotary frequencies and the positions to bf16.
    q_gain_init: initial gain of the queries. depth_scaled_norm: divide the normed inputs of pass i by sqrt(i + 1).
    xsa_last_n: use exclusive self-attention in the last n passes. smear_gate: mix each embedding with the one before.
    resid_mix_init, resid_mix_legendre_keep and resid_mix_legendre_first: as in `pgolf.nn.resid_mix.starts`.
    """

    unique_blocks: int
    rope_base: float
    rope_ntk_factor: float
    rotary_dims: int
    rope_bf16_frequencies: bool
    rope_bf16_positions: bool
    q_gain_init: float
    depth_scaled_norm: bool
    xsa_last_n: int
    smear_gate: bool
    resid_mix_init: str
    resid_mix_legendre_keep: list[float]
    resid_mix_legendre_first: list[float]

    @property
    def rotary_base(self) -> float:
        """The rotary base after NTK-aware scaling."""
        if self.rope_ntk_factor == 1:
            return self.rope_base
        return self.rope_base * self.rope_ntk_factor ** (self.rotary_dims / (self.rotary_dims - 2))

    def mix_starts(self, layers: int, *, uses_resid_mix: bool) -> list[tuple[float, float] | None]:
        """The start of each pass's residual mixing. Raises OptionError if the depth variant has no use for it."""
        choice = self.resid_mix_init
        if not uses_resid_mix:
            remedy = "choose none, or another model/depth: this one has no residual mixing"
            require(choice != "legendre", "resid_mix_init", choice, remedy)
            choice = "none"
        return starts(choice, self.resid_mix_legendre_keep, self.resid_mix_legendre_first, layers)


class GPT(nn.Module):
    """A causal language model over token ids.

    Attribute names are the config paths of the slots, so a parameter's name begins with the path of its slot
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
        depth = slots.depth(dims)
        mixes = trunk.mix_starts(dims.layers, uses_resid_mix=getattr(depth, "uses_resid_mix", True))
        self.gains = nn.ModuleList(Gains(dims, mix=mix) for mix in mixes)
        self.depth = depth
        self.head = slots.head(dims, self.embedding)

    def passes(self) -> list[Pass]:
        """The passes through the cores, in depth order."""
        cores = [Core(q, a, m) for q, a, m in zip(self.q_proj, self.attention, self.mlp, strict=True)]  # type: ignore[arg-type]
        scaled, layers = self.trunk.depth_scaled_norm, self.dims.layers
        return [
            Pass(cores[i % len(cores)], gains, (i + 1) ** -0.5 if scaled else 1.0, i >= layers - self.trunk.xsa_last_n)  # type: ignore[arg-type]
            for i, gains in enumerate(self.gains)
        ]

    def hidden(self, ids_BT: Tensor, *, reach: int | None = None) -> Tensor:
        """Final normalised states [B, T, D].

        reach: the number of positions that a position attends to at most, its own included, for inputs that are longer
        than a context.
        """
        e = self.embedding(ids_BT)
        side_tensors: list[tuple[Any, Tensor]] = [(side, side(ids_BT)) for side in self.side_inputs.values()]
        for side, tensor in side_tensors:
            if side.site == "embed":
                e = e + tensor
        x0 = rms_norm(e if self.smear is None else self.smear(e))
        trunk = self.trunk
        rotary = rotary_angles(
            ids_BT.size(1),
            trunk.rotary_dims,
            trunk.rotary_base,
            ids_BT.device,
            bf16_frequencies=trunk.rope_bf16_frequencies,
            bf16_positions=trunk.rope_bf16_positions,
        )

        def side_sum(site: str, layer: int) -> Tensor | None:
            terms = [
                side.gain(layer) * tensor for side, tensor in side_tensors if side.site == site and layer in side.layers
            ]
            return sum(terms[1:], terms[0]) if terms else None

        blocks = [
            BoundBlock(one, x0, rotary, side_sum("residual", i), side_sum("value", i), reach)
            for i, one in enumerate(self.passes())
        ]
        return rms_norm(self.depth(x0, blocks))

    def forward(self, ids_BT: Tensor, targets_BS: Tensor, reach: int | None = None) -> Tensor:
        """-log p of the last S targets in nats, fp32 [B, S].

        S = T in training. In evaluation S is smaller where only the end of a window is scored. reach: as in `hidden`.
        """
        return self.head.nll(self.hidden(ids_BT, reach=reach)[:, -targets_BS.size(1) :], targets_BS)
