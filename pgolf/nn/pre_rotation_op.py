"""The rotation of pairs by content-dependent angles as two operators of torch, computed by `pre_rotation_kernel`.

torch sees the operators alone: autograd, its compiler, fake tensors and counts of FLOPs need neither Triton nor a GPU.

Shapes: N tokens, D width, P pairs.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from pgolf.nn.primitives import autocast_device
from pgolf.nn.triton_limits import angle_dtype


@torch.library.custom_op("pgolf::rotate_pairs", mutates_args=())
def rotate_pairs(x_ND: Tensor, source: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(y [N, D] in a type, theta [N, P]): x with its first P pairs rotated by theta = A x.

    source: A [P, D], or one angle per pair [P]; theta then has no elements. Raises PgolfError without Triton, and for
    tensors that it cannot work on.
    """
    from pgolf.nn import pre_rotation_kernel

    return pre_rotation_kernel.forward(x_ND, source, dtype)


@torch.library.custom_op("pgolf::rotate_pairs_backward", mutates_args=())
def rotate_pairs_backward(g_ND: Tensor, x_ND: Tensor, source: Tensor, theta_NP: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient of x [N, D], gradient of theta [N, P]) for the gradient g of y. Raises PgolfError."""
    from pgolf.nn import pre_rotation_kernel

    return pre_rotation_kernel.backward(g_ND, x_ND, source, theta_NP)


@rotate_pairs.register_fake
def rotate_pairs_shapes(x_ND: Tensor, source: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    tokens = x_ND.size(0) if source.ndim == 2 else 0
    theta_NP = x_ND.new_empty((tokens, source.size(0)), dtype=angle_dtype(x_ND, source))
    return x_ND.new_empty(x_ND.shape, dtype=dtype), theta_NP


@rotate_pairs_backward.register_fake
def rotate_pairs_backward_shapes(g_ND: Tensor, x_ND: Tensor, source: Tensor, theta_NP: Tensor) -> tuple[Tensor, Tensor]:
    dtheta_NP = x_ND.new_empty((x_ND.size(0), source.size(0)), dtype=angle_dtype(x_ND, source))
    return x_ND.new_empty(x_ND.shape), dtheta_NP


def keep_inputs(ctx: Any, inputs: tuple[Tensor, Tensor, torch.dtype], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(inputs[0], inputs[1], output[1])


def gradients(ctx: Any, g_ND: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
    """Gradients of x and of the source. The sum over tokens is dtheta^T x for A, and that of dtheta for angles [P]."""
    if g_ND is None:
        return None, None, None
    x_ND, source, theta_NP = ctx.saved_tensors
    dx_ND, dtheta_NP = torch.ops.pgolf.rotate_pairs_backward(g_ND, x_ND, source, theta_NP)
    if source.ndim == 1:
        return dx_ND, dtheta_NP.sum(0).to(source.dtype), None
    with torch.autocast(
        autocast_device(x_ND), enabled=False
    ):  # torch.compile traces this as if within the forward pass
        dsource = dtheta_NP.T @ x_ND.to(dtheta_NP.dtype)
    return dx_ND, dsource.to(source.dtype), None


rotate_pairs.register_autograd(gradients, setup_context=keep_inputs)


def product_flops(x_shape: torch.Size, source_shape: torch.Size, *_: Any, **__: Any) -> int:
    """FLOPs of theta = A x."""
    return 2 * math.prod(x_shape) * source_shape[0] if len(source_shape) == 2 else 0


def backward_flops(_: torch.Size, x_shape: torch.Size, source_shape: torch.Size, *__: Any, **___: Any) -> int:
    """FLOPs of A^T dtheta."""
    return product_flops(x_shape, source_shape)


register_flop_formula(torch.ops.pgolf.rotate_pairs)(product_flops)
register_flop_formula(torch.ops.pgolf.rotate_pairs_backward)(backward_flops)


def rotated(x_BTD: Tensor, source: Tensor, dtype: torch.dtype) -> Tensor:
    """x [B, T, D] with rotated pairs, in a type. source: A [P, D] or angles [P]. Raises PgolfError."""
    y_ND, _ = torch.ops.pgolf.rotate_pairs(x_BTD.reshape(-1, x_BTD.size(-1)), source, dtype)
    return y_ND.view(x_BTD.shape)
