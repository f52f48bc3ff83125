"""A block is a core and its gains. The core owns the matrices; the gains own the scales of one pass through it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgolf.nn.attention import Attention
from pgolf.nn.primitives import rms_norm
from pgolf.slots import Dims, Role


class Gains(nn.Module):
    """Per-pass scales: attn_scale [D] and mlp_scale [D] start at one, resid_mix [2, D] at (1, 0)."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.attn_scale = nn.Parameter(torch.empty(dims.width))
        self.mlp_scale = nn.Parameter(torch.empty(dims.width))
        self.resid_mix = nn.Parameter(torch.empty(2, dims.width))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.attn_scale)
        nn.init.ones_(self.mlp_scale)
        with torch.no_grad():
            self.resid_mix.copy_(torch.tensor([[1.0], [0.0]]).expand_as(self.resid_mix))

    def roles(self) -> dict[str, Role]:
        return {"attn_scale": "scalar", "mlp_scale": "scalar", "resid_mix": "scalar"}


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
        """x <- x + residual;  x <- a x + b x0;  x <- x + s Attention(c norm x);  x <- x + t MLP(c norm x).

        (a, b) is resid_mix, s attn_scale, t mlp_scale, and c norm_scale. Returns x [B, T, D].
        reach: the number of positions that a position attends to at most, its own included; None for no limit.
        """
        if residual_BTD is not None:
            x_BTD = x_BTD + residual_BTD.to(x_BTD.dtype)
        gains, core = self.gains, self.core
        keep, first = gains.resid_mix.to(x_BTD.dtype)
        x_BTD = keep * x_BTD + first * x0_BTD
        normed = self.norm(x_BTD)
        attended = core.attention(
            normed, core.q_proj(normed), rotary, value_BTE=value_BTE, exclude_self=self.exclude_self, reach=reach
        )
        x_BTD = x_BTD + gains.attn_scale.to(x_BTD.dtype) * attended
        return x_BTD + gains.mlp_scale.to(x_BTD.dtype) * core.mlp(self.norm(x_BTD))

    def norm(self, x_BTD: Tensor) -> Tensor:
        """RMS norm times norm_scale."""
        normed = rms_norm(x_BTD)
        return normed if self.norm_scale == 1.0 else normed * self.norm_scale
