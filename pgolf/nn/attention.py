"""Causal self-attention with grouped keys and values (arXiv 2305.13245)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.nn.primitives import Linear, rms_norm, rotate
from pgolf.slots import Dims


def without_self(y_BHTK: Tensor, v_BGTK: Tensor) -> Tensor:
    """Exclusive self-attention: y - (y.u) u, [B, H, T, K], where u = v / |v| is the direction of the position's value.

    The result is orthogonal to the position's own value. Each of the G value heads serves H/G query heads. Source:
    parameter-golf pull request 908.
    """
    u_BGTK = F.normalize(v_BGTK, dim=-1, eps=1e-12)
    u_BHTK = u_BGTK.repeat_interleave(y_BHTK.size(1) // v_BGTK.size(1), dim=1)
    return y_BHTK - (y_BHTK * u_BHTK).sum(-1, keepdim=True) * u_BHTK


class Attention(nn.Module):
    """softmax(q k^T / sqrt(K), causal) v, then an output map that starts at zero.

    q and k are RMS-normalised per head and rotated; q is then multiplied by a learned gain per head. H/G query heads
    share each of the G key-value heads. The queries come from the q_proj slot.
    """

    def __init__(self, dims: Dims, *, q_gain_init: float):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = dims.heads, dims.kv_heads, dims.head_dim
        self.q_gain_init = q_gain_init
        self.k = Linear(dims.width, dims.kv_heads * dims.head_dim)
        self.v = Linear(dims.width, dims.kv_heads * dims.head_dim)
        self.out = Linear(dims.width, dims.width, zero=True, closes_branch=True)
        self.q_gain = nn.Parameter(torch.empty(dims.heads))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.q_gain, self.q_gain_init)

    def forward(
        self,
        x_BTD: Tensor,
        q_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        *,
        value_BTE: Tensor | None = None,
        exclude_self: bool = False,
    ) -> Tensor:
        """Output [B, T, D] for normed inputs x [B, T, D] and queries q [B, T, D].

        rotary: cos and sin [T, rotary_dims / 2]. value_BTE [B, T, G*K] is added to the values. exclude_self: apply
        `without_self` to the output of every head.
        """
        batch, time, width = x_BTD.shape
        q = q_BTD.view(batch, time, self.heads, self.head_dim)
        k = self.k(x_BTD).view(batch, time, self.kv_heads, self.head_dim)
        v_BTE = self.v(x_BTD)
        if value_BTE is not None:
            v_BTE = v_BTE + value_BTE.to(v_BTE.dtype)
        v = v_BTE.view(batch, time, self.kv_heads, self.head_dim).transpose(1, 2)
        q = rotate(rms_norm(q), *rotary) * self.q_gain.to(q.dtype)[:, None]
        k = rotate(rms_norm(k), *rotary)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        if exclude_self:
            y = without_self(y, v)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))
