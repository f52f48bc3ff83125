"""Causal self-attention with grouped keys and values (arXiv 2305.13245)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.nn.primitives import Linear, normed_rotation
from pgolf.slots import Dims

QUERY_BLOCK = 64  # queries that share a strip of keys; the fastest of 32, 64, 128 and 256 on a CPU with a reach of 256


def without_self(y_BHTK: Tensor, v_BGTK: Tensor) -> Tensor:
    """Exclusive self-attention: y - (y.u) u, [B, H, T, K], where u = v / |v| is the direction of the position's value.

    The result is orthogonal to the position's own value. Each of the G value heads serves H/G query heads. Source:
    parameter-golf pull request 908.
    """
    u_BGTK = F.normalize(v_BGTK, dim=-1, eps=1e-12)
    u_BHTK = u_BGTK.repeat_interleave(y_BHTK.size(1) // v_BGTK.size(1), dim=1)
    return y_BHTK - (y_BHTK * u_BHTK).sum(-1, keepdim=True) * u_BHTK


def causal_attention(q_BHSK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, reach: int | None) -> Tensor:
    """softmax(q k^T / sqrt(K)) v [B, H, S, K], where a position sees itself and earlier ones.

    The queries are those of the last S of T positions. reach: the number of positions that a query sees at most, its
    own included; None for no limit. With a limit the queries are cut into blocks. Each block is one row of a batch and
    sees a strip of keys, which overlaps with the strip of the next block.
    """
    queries, time = q_BHSK.size(2), k_BGTK.size(2)
    attend = partial(F.scaled_dot_product_attention, enable_gqa=q_BHSK.size(1) != k_BGTK.size(1))
    if reach is None or reach >= time:
        if queries == time:
            return attend(q_BHSK, k_BGTK, v_BGTK, is_causal=True)
        seen = torch.ones(queries, time, dtype=torch.bool, device=q_BHSK.device).tril(time - queries)
        return attend(q_BHSK, k_BGTK, v_BGTK, attn_mask=seen)
    unlimited = max(0, reach - (time - queries))  # queries that have no more than `reach` positions to see
    parts = []
    if unlimited:
        parts.append(causal_attention(q_BHSK[:, :, :unlimited], k_BGTK[:, :, :reach], v_BGTK[:, :, :reach], None))
    first_key, size = time - queries + unlimited - reach, min(QUERY_BLOCK, queries - unlimited)
    keys, values = (strips(x[:, :, first_key:], reach + size, size) for x in (k_BGTK, v_BGTK))
    seen = torch.ones(size, reach + size, dtype=torch.bool, device=q_BHSK.device).tril(reach).triu(1)
    y = attend(strips(q_BHSK[:, :, unlimited:], size, size), keys, values, attn_mask=seen)
    y_BHSK = y.unflatten(0, (q_BHSK.size(0), -1)).transpose(1, 2).flatten(2, 3)
    return torch.cat([*parts, y_BHSK[:, :, : queries - unlimited]], dim=2)


def strips(x_BHTK: Tensor, length: int, step: int) -> Tensor:
    """Strips of `length` positions, one every `step` positions, [B * strips, H, length, K]; zeros fill the last one."""
    x_BTHK = F.pad(x_BHTK, (0, 0, 0, (length - x_BHTK.size(2)) % step)).transpose(1, 2)
    return x_BTHK.unfold(1, length, step).flatten(0, 1).transpose(2, 3)


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
        reach: int | None = None,
    ) -> Tensor:
        """Output [B, T, D] for normed inputs x [B, T, D] and queries q [B, T, D].

        rotary: cos and sin [T, rotary_dims / 2]. value_BTE [B, T, G*K] is added to the values. exclude_self: apply
        `without_self` to the output of every head. reach: as in `causal_attention`.
        """
        batch, time, width = x_BTD.shape
        q = q_BTD.view(batch, time, self.heads, self.head_dim)
        k = self.k(x_BTD).view(batch, time, self.kv_heads, self.head_dim)
        v_BTE = self.v(x_BTD)
        if value_BTE is not None:
            v_BTE = v_BTE + value_BTE.to(v_BTE.dtype)
        v = v_BTE.view(batch, time, self.kv_heads, self.head_dim).transpose(1, 2)
        q = normed_rotation(q, rotary, self.q_gain)
        k = normed_rotation(k, rotary)
        y = causal_attention(q.transpose(1, 2), k.transpose(1, 2), v, reach)
        if exclude_self:
            y = without_self(y, v)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))
