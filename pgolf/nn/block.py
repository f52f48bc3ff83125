"""A block is a core and its gains. The core owns the matrices; the gains own the scales of one pass through it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgolf.nn.attention import Attention
from pgolf.nn.primitives import rms_norm
from pgolf.slots import Dims, Role


class Gains(nn.Module):
    """Per-pass scales: attn_scale [D] and mlp_scale [D] start at one, resid_mix [2, D] at `mix`.

    mix: (a, b), the same in every dimension; None for no resid_mix.
    """

    def __init__(self, dims: Dims, *, mix: tuple[float, float] | None):
        super().__init__()
        self.attn_scale = nn.Parameter(torch.empty(dims.width))
        self.mlp_scale = nn.Parameter(torch.empty(dims.width))
        self.resid_mix = nn.Parameter(torch.empty(2, dims.width)) if mix is not None else None
        self.mix = mix

    def reset_parameters(self) -> None:
        nn.init.ones_(self.attn_scale)
        nn.init.ones_(self.mlp_scale)
        if self.resid_mix is not None:
            with torch.no_grad():
                self.resid_mix.copy_(torch.tensor(self.mix)[:, None].expand_as(self.resid_mix))

    def roles(self) -> dict[str, Role]:
        return {name: "scalar" for name, _ in self.named_parameters()}


@dataclass(frozen=True)
class Core:
    """The matrices of a block. Not an nn.Module: the model registers each part under its slot's config path."""

    q_proj: nn.Module
    attention: Attention
    mlp: nn.Module


@dataclass(frozen=True)
class Pass:
    """One pass through a core: its gains, and the settings that depend on the position in depth.

    norm_scale: factor of the normed inputs of attention and MLP. exclude_self: use exclusive self-attention.
    """

    core: Core
    gains: Gains
    norm_scale: float
    exclude_self: bool

    def __call__(
        self,
        x_BTD: Tensor,
        x0_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        residual_BTD: Tensor | None = None,
        value_BTE: Tensor | None = None,
        reach: int | None = None,
    ) -> Tensor:
        """x <- x + residual;  x <- a x + b x0;  x <- x + attended(x);  x <- x + fed_forward(x).

        (a, b) is resid_mix; without one, x is not mixed. Returns x [B, T, D].
        reach: the number of positions that a position attends to at most, its own included; None for no limit.
        """
        if residual_BTD is not None:
            x_BTD = x_BTD + residual_BTD.to(x_BTD.dtype)
        if self.gains.resid_mix is not None:
            keep, first = self.gains.resid_mix.to(x_BTD.dtype)
            x_BTD = keep * x_BTD + first * x0_BTD
        x_BTD = x_BTD + self.attended(x_BTD, rotary, value_BTE, reach)
        return x_BTD + self.fed_forward(x_BTD)

    def attended(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], value_BTE: Tensor | None, reach: int | None
    ) -> Tensor:
        """The output of the attention sublayer, [B, T, D]: s Attention(c norm x) with s attn_scale and c norm_scale."""
        normed, core = self.norm(x_BTD), self.core
        output = core.attention(
            normed, core.q_proj(normed), rotary, value_BTE=value_BTE, exclude_self=self.exclude_self, reach=reach
        )
        return self.gains.attn_scale.to(x_BTD.dtype) * output

    def fed_forward(self, x_BTD: Tensor) -> Tensor:
        """The output of the MLP sublayer, [B, T, D]: t MLP(c norm x) with t mlp_scale and c norm_scale."""
        return self.gains.mlp_scale.to(x_BTD.dtype) * self.core.mlp(self.norm(x_BTD))

    def norm(self, x_BTD: Tensor) -> Tensor:
        """RMS norm times norm_scale."""
        normed = rms_norm(x_BTD)
        return normed if self.norm_scale == 1.0 else normed * self.norm_scale


@dataclass(frozen=True)
class BoundBlock:
    """A pass with its inputs other than the stream, as in `Pass.__call__`: the block that a depth variant wires."""

    one_pass: Pass
    x0_BTD: Tensor
    rotary: tuple[Tensor, Tensor]
    residual_BTD: Tensor | None
    value_BTE: Tensor | None
    reach: int | None

    def __call__(self, x_BTD: Tensor) -> Tensor:
        """The stream after the block, [B, T, D]."""
        return self.one_pass(x_BTD, self.x0_BTD, self.rotary, self.residual_BTD, self.value_BTE, self.reach)

    def attention(self, x_BTD: Tensor) -> Tensor:
        """The output of the attention sublayer, [B, T, D], for the input x + residual, which is not mixed."""
        if self.residual_BTD is not None:
            x_BTD = x_BTD + self.residual_BTD.to(x_BTD.dtype)
        return self.one_pass.attended(x_BTD, self.rotary, self.value_BTE, self.reach)

    def mlp(self, x_BTD: Tensor) -> Tensor:
        """The output of the MLP sublayer, [B, T, D], for the input x."""
        return self.one_pass.fed_forward(x_BTD)
