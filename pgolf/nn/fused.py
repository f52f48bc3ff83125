"""Functions of the model with a gradient by formula, for a CPU without compilation: half the time of autograd's.

Autograd keeps and multiplies one tensor per operation. Here each function goes over its tensors as few times as its
formula allows. torch.compile and CUDA have fused forms of their own, so there the plain forms are used. Every gradient
is exact. Shapes: N rows, B batch, T time, H heads, K head dim, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

ROWS = 128  # rows of logits that are worked on together, so that they stay in the cache of a core
MOST_PARTS = 32  # a micro-batch of more rows than ROWS * MOST_PARTS has larger parts


def use_fused(x: Tensor) -> bool:
    """Whether the functions of this module suit a tensor: on a CPU, in fp32 or fp64, not compiled.

    A tensor without data (device meta) stands for one on a CPU.
    """
    is_plain = x.device.type in ("cpu", "meta") and x.dtype in (torch.float32, torch.float64)
    return is_plain and not torch.compiler.is_compiling()


def inverse_rms(x: Tensor) -> Tensor:
    """1 / sqrt(mean(x^2) + eps) over the last dimension, which stays with size 1; eps is the epsilon of x's type."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return square.div_(x.size(-1)).add_(torch.finfo(x.dtype).eps).rsqrt_()


def normed_gradient(g: Tensor, y: Tensor, dot: Tensor, inverse: Tensor) -> Tensor:
    """The gradient of x, with y = x inverse_rms(x) and gradient g of y: (g - y dot / K) inverse. dot: sum(g y)."""
    return torch.addcmul(g, y, dot, value=-1 / y.size(-1)).mul_(inverse)


class RmsNorm(Function):
    """y = x / sqrt(mean(x^2) + eps) over the last dimension, as `torch.nn.functional.rms_norm`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        inverse = inverse_rms(x)
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        y, inverse = ctx.saved_tensors
        return normed_gradient(g, y, (g * y).sum(-1, keepdim=True), inverse)


def rotated(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """As `rotate` of pgolf.nn.primitives, into one new tensor."""
    half = cos.size(1)
    sizes = [half, half, x_BTHK.size(-1) - 2 * half]
    cos, sin, y_BTHK = cos[:, None], sin[:, None], torch.empty_like(x_BTHK)
    (x1, x2, rest), (y1, y2, same) = x_BTHK.split(sizes, dim=-1), y_BTHK.split(sizes, dim=-1)
    torch.mul(x1, cos, out=y1).addcmul_(x2, sin)
    torch.mul(x2, cos, out=y2).addcmul_(x1, sin, value=-1)
    same.copy_(rest)
    return y_BTHK


class NormedRotation(Function):
    """The rotated RMS norm of each head of x [B, T, H, K], times a gain per head [H] if given; cos and sin [T, R]."""

    @staticmethod
    def forward(ctx: Any, x_BTHK: Tensor, cos: Tensor, sin: Tensor, gain_H: Tensor | None) -> Tensor:
        inverse = inverse_rms(x_BTHK)
        y = x_BTHK * inverse
        ctx.save_for_backward(y, inverse, cos, sin, gain_H)
        return rotated(y, cos, sin) if gain_H is None else rotated(y, cos, sin).mul_(gain_H[:, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BTHK: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        y, inverse, cos, sin, gain_H = ctx.saved_tensors
        g = rotated(g_BTHK, cos, -sin)  # a rotation by the negative angle
        dot_BTH1 = (g * y).sum(-1, keepdim=True)
        if gain_H is None:
            return normed_gradient(g, y, dot_BTH1, inverse), None, None, None
        return normed_gradient(g, y, dot_BTH1, inverse * gain_H[:, None]), None, None, dot_BTH1.sum((0, 1, 3))


class SquaredRelu(Function):
    """y = max(x, 0)^2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (g * positive).mul_(2)


class SoftcapNll(Function):
    """-log softmax(cap tanh(z / cap)) at the target y, [N], for scores z [N, V] and targets [N].

    With t = tanh(z / cap) and p the softmax, the gradient of z is (p - onehot(y)) (1 - t^2). It is computed in the
    forward pass, while the rows are in the cache.
    """

    @staticmethod
    def forward(ctx: Any, z_NV: Tensor, y_N: Tensor, cap: float) -> Tensor:
        nll_N = z_NV.new_empty(z_NV.size(0))
        gradient_NV = torch.empty_like(z_NV) if ctx.needs_input_grad[0] else None
        size = max(ROWS, z_NV.size(0) // MOST_PARTS)
        for start in range(0, z_NV.size(0), size):
            rows = slice(start, start + size)
            y, t = y_N[rows, None], torch.div(z_NV[rows], cap).tanh_()
            logits = t * cap
            chosen, largest = logits.gather(-1, y), logits.amax(-1, keepdim=True)
            p = logits.sub_(largest).exp_()
            total = p.sum(-1, keepdim=True)
            nll_N[rows] = (total.log() + largest - chosen).squeeze(-1)
            if gradient_NV is not None:
                p.div_(total).scatter_add_(-1, y, torch.full_like(total, -1))
                torch.addcmul(p, p, t.mul_(t), value=-1, out=gradient_NV[rows])
        if gradient_NV is not None:
            ctx.save_for_backward(gradient_NV)
        return nll_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_N: Tensor) -> tuple[Tensor, None, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * g_N[:, None], None, None
