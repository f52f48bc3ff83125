"""Rotation of pairs of dimensions by angles that may depend on the input, followed by a linear map.

Shapes: B batch, T time, D width, P pairs, M outputs. Pair j is (x_j, x_{j+P}), j < P. D is at least 2 P.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pgolf.nn.fused import use_fused
from pgolf.nn.primitives import autocast_device


class PairRotation(Function):
    """y_j = x_j cos t_j + x_{j+P} sin t_j, y_{j+P} = -x_j sin t_j + x_{j+P} cos t_j, for x [.., 2P] and t [.., P].

    Backward, with g the gradient of y: that of x is g rotated by -t, that of t_j is g_j y_{j+P} - g_{j+P} y_j.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, theta: Tensor) -> Tensor:
        cos, sin = theta.cos(), theta.sin()
        y = turned(x, cos, sin)
        ctx.save_for_backward(y, cos, sin)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        y, cos, sin = ctx.saved_tensors
        (g1, g2), (y1, y2) = g.chunk(2, dim=-1), y.chunk(2, dim=-1)
        return turned(g, cos, -sin), (g1 * y2).addcmul_(g2, y1, value=-1)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The pairs of x [.., 2P] turned by angles of these cosines and sines, [.., P] or [P]."""
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos + x2 * sin, x2 * cos - x1 * sin), dim=-1)


def rotated_pairs(x_BTD: Tensor, theta: Tensor) -> Tensor:
    """The first 2 P dims of x after the rotation, [B, T, 2P]. theta: [B, T, P], or [P] for one angle per pair."""
    pairs_BTE = x_BTD[..., : 2 * theta.size(-1)]
    if use_fused(x_BTD) and theta.dtype == x_BTD.dtype and theta.ndim == x_BTD.ndim:
        return PairRotation.apply(pairs_BTE, theta)
    return turned(pairs_BTE.to(theta.dtype), theta.cos(), theta.sin()).to(x_BTD.dtype)


def angles(x_BTD: Tensor, source: Tensor) -> Tensor:
    """theta = A x [B, T, P] for a source A [P, D]; a source [P] itself, which is one angle per pair for any input.

    Under autocast theta stays in the type of A: the cosine of a large angle in bf16 would be noise.
    """
    if source.ndim == 1:
        return source
    with torch.autocast(autocast_device(x_BTD), enabled=False):
        return F.linear(x_BTD.to(source.dtype), source)


def eager(x_BTD: Tensor, source: Tensor, weight_MD: Tensor) -> Tensor:
    """W y [B, T, M], where y is x with rotated pairs."""
    y_BTE = rotated_pairs(x_BTD, angles(x_BTD, source))
    return F.linear(torch.cat((y_BTE, x_BTD[..., y_BTE.size(-1) :]), dim=-1), weight_MD)


def split(x_BTD: Tensor, source: Tensor, weight_MD: Tensor) -> Tensor:
    """The same as W x + W[:, :2P] (y - x)[:2P], without a copy of the dims that stay as they are."""
    y_BTE = rotated_pairs(x_BTD, angles(x_BTD, source))
    pairs = y_BTE.size(-1)
    return F.linear(x_BTD, weight_MD) + F.linear(y_BTE - x_BTD[..., :pairs], weight_MD[:, :pairs])


def triton(x_BTD: Tensor, source: Tensor, weight_MD: Tensor) -> Tensor:
    """The same, with angles, rotation and copy in one Triton kernel, forward and backward; the product is a library's.

    Under autocast y is written in autocast's type, so the kernel also does the conversion that the plain layer needs.
    """
    from pgolf.nn.pre_rotation_op import rotated  # names an operator to torch, which only this form needs

    device = autocast_device(x_BTD)
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_BTD.dtype
    return F.linear(rotated(x_BTD, source, dtype), weight_MD)


# Each takes x [B, T, D], A [P, D] or angles [P], and W [M, D], and returns W y [B, T, M]. All give one result up to
# rounding. A compiled model compiles any of them.
IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "eager": eager,
    "split": split,
    "triton": triton,
}
