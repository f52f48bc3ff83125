"""Triton kernels of pre-rotation: theta = A x, the rotation of P pairs by theta and the copy of the other dims.

y_j = x_j cos t_j + x_{j+P} sin t_j,  y_{j+P} = -x_j sin t_j + x_{j+P} cos t_j,  y_i = x_i for i >= 2 P.

Backward, with the gradient g of y and r, which is g rotated by -theta:

dtheta_j = r_j x_{j+P} - r_{j+P} x_j,  dx = r + A^T dtheta,  dA = dtheta^T x.

A rotation keeps g_j y_{j+P} - g_{j+P} y_j, so y is not needed. One kernel per direction computes all of it except dA, a
sum over tokens, which is a product of a library (`pre_rotation_op`). Angles, cosines, sines and sums are fp32, or fp64.

Why the product W y is not in the kernel. The angles of a token need all of its D dims before its first output. A
product in tiles would compute them again for each tile of columns. Under autocast the product is in bf16 and the angles
are not: with three tf32 products for one of fp32, they take six times as long per FLOP, so that 32 angles take 1.5
times as long as the product of a tile of 128 columns. Or a program keeps its tokens and goes through all columns. Then
it reads x in fp32 from the cache, once per tile of columns: twice the bytes of a product that reads y in bf16. A fused
product would save to write y and to read it. The plain layer does that too under autocast, which converts its input.
This kernel takes the place of that conversion. It adds theta, a second reading of x (from the cache) and dA. In
`split`, the second product reads and writes all M outputs once more; y has only D numbers, and M is usually 2 D.

These are estimates on paper (docs/performance.md). No GPU was available to measure them.

Shapes: N tokens, D width, P pairs. Any N, D, P with 2 P <= D. Importing this module needs the package triton.
"""

from typing import Any

import torch
from torch import Tensor

from pgolf.errors import PgolfError
from pgolf.nn.triton_limits import MISSING, NEEDS_GPU, angle_dtype

try:
    import triton
    import triton.language as tl
except ImportError:
    raise PgolfError(f"model.mlp.implementation: cannot be used (triton); {MISSING}") from None

WARPS = 4


@triton.jit
def forward_kernel(
    x: tl.tensor,
    source: tl.tensor,
    y: tl.tensor,
    theta: tl.tensor,
    N: tl.tensor,
    D: tl.constexpr,
    P: tl.constexpr,
    CONTENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
    TYPE: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """y and theta of ROWS tokens. x, y: [N, D]. source: A [P, D] with CONTENT, else angles [P]. theta: [N, P]."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    pairs = tl.arange(0, BLOCK_P)[None, :]
    inside = (rows < N) & (pairs < P)
    first = rows * D + pairs
    if CONTENT:
        angles = tl.zeros([ROWS, BLOCK_P], TYPE)
        for start in range(0, D, BLOCK_D):
            dims = start + tl.arange(0, BLOCK_D)
            x_tile = tl.load(x + rows * D + dims[None, :], mask=(rows < N) & (dims[None, :] < D), other=0.0)
            a_tile = tl.load(source + pairs * D + dims[:, None], mask=(pairs < P) & (dims[:, None] < D), other=0.0)
            angles = tl.dot(x_tile.to(TYPE), a_tile.to(TYPE), angles, input_precision=PRECISION, out_dtype=TYPE)
        tl.store(theta + rows * P + pairs, angles, mask=inside)
    else:
        angles = tl.load(source + pairs, mask=pairs < P, other=0.0).to(TYPE)
    cos, sin = tl.cos(angles), tl.sin(angles)
    x1 = tl.load(x + first, mask=inside, other=0.0).to(TYPE)
    x2 = tl.load(x + first + P, mask=inside, other=0.0).to(TYPE)
    tl.store(y + first, (x1 * cos + x2 * sin).to(y.dtype.element_ty), mask=inside)
    tl.store(y + first + P, (x2 * cos - x1 * sin).to(y.dtype.element_ty), mask=inside)
    for start in range(2 * P, D, BLOCK_D):
        dims = start + tl.arange(0, BLOCK_D)[None, :]
        rest = (rows < N) & (dims < D)
        same = tl.load(x + rows * D + dims, mask=rest, other=0.0)
        tl.store(y + rows * D + dims, same.to(y.dtype.element_ty), mask=rest)


@triton.jit
def turned_back(
    g: tl.tensor,
    x: tl.tensor,
    source: tl.tensor,
    theta: tl.tensor,
    rows: tl.tensor,
    pairs: tl.tensor,
    N: tl.tensor,
    D: tl.constexpr,
    P: tl.constexpr,
    CONTENT: tl.constexpr,
    TYPE: tl.constexpr,
) -> tl.tuple:
    """Both halves of g, rotated by -theta, and of x, for some rows [.., 1] and pairs [1, ..]."""
    inside = (rows < N) & (pairs < P)
    first = rows * D + pairs
    if CONTENT:
        angles = tl.load(theta + rows * P + pairs, mask=inside, other=0.0)
    else:
        angles = tl.load(source + pairs, mask=pairs < P, other=0.0).to(TYPE)
    cos, sin = tl.cos(angles), tl.sin(angles)
    g1 = tl.load(g + first, mask=inside, other=0.0).to(TYPE)
    g2 = tl.load(g + first + P, mask=inside, other=0.0).to(TYPE)
    x1 = tl.load(x + first, mask=inside, other=0.0).to(TYPE)
    x2 = tl.load(x + first + P, mask=inside, other=0.0).to(TYPE)
    return g1 * cos - g2 * sin, g2 * cos + g1 * sin, x1, x2


@triton.jit
def plus_product(
    sums: tl.tensor,
    dangles: tl.tensor,
    source: tl.tensor,
    dims: tl.tensor,
    END: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    BLOCK_P: tl.constexpr,
    TYPE: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """sums + dangles A for some dims [1, ..] before END of A [P, D]."""
    row = tl.arange(0, BLOCK_P)[:, None]
    tile = tl.load(source + row * D + dims, mask=(row < P) & (dims < END), other=0.0).to(TYPE)
    return tl.dot(dangles, tile, sums, input_precision=PRECISION, out_dtype=TYPE)


@triton.jit
def backward_kernel(
    g: tl.tensor,
    x: tl.tensor,
    source: tl.tensor,
    theta: tl.tensor,
    dx: tl.tensor,
    dtheta: tl.tensor,
    N: tl.tensor,
    D: tl.constexpr,
    P: tl.constexpr,
    CONTENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    TYPE: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """dx and dtheta of ROWS tokens, for the gradient g of y. g, x, dx: [N, D]. dtheta: [N, P]. Others as forward."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    all_pairs = tl.arange(0, BLOCK_P)[None, :]
    r1, r2, x1, x2 = turned_back(g, x, source, theta, rows, all_pairs, N, D, P, CONTENT, TYPE)
    dangles = r1 * x2 - r2 * x1
    tl.store(dtheta + rows * P + all_pairs, dangles, mask=(rows < N) & (all_pairs < P))
    for start in range(0, P, BLOCK_C):
        pairs = start + tl.arange(0, BLOCK_C)[None, :]
        dx1, dx2, _, _ = turned_back(g, x, source, theta, rows, pairs, N, D, P, CONTENT, TYPE)
        if CONTENT:
            dx1 = plus_product(dx1, dangles, source, pairs, P, D, P, BLOCK_P, TYPE, PRECISION)
            dx2 = plus_product(dx2, dangles, source + P, pairs, P, D, P, BLOCK_P, TYPE, PRECISION)
        inside = (rows < N) & (pairs < P)
        tl.store(dx + rows * D + pairs, dx1.to(dx.dtype.element_ty), mask=inside)
        tl.store(dx + rows * D + pairs + P, dx2.to(dx.dtype.element_ty), mask=inside)
    for start in range(2 * P, D, BLOCK_D):
        dims = start + tl.arange(0, BLOCK_D)[None, :]
        rest = (rows < N) & (dims < D)
        same = tl.load(g + rows * D + dims, mask=rest, other=0.0).to(TYPE)
        if CONTENT:
            same = plus_product(same, dangles, source, dims, D, D, P, BLOCK_P, TYPE, PRECISION)
        tl.store(dx + rows * D + dims, same.to(dx.dtype.element_ty), mask=rest)


IS_INTERPRETED = not isinstance(forward_kernel, triton.runtime.JITFunction)  # TRITON_INTERPRET=1 when triton was loaded


def check_device(x_ND: Tensor) -> None:
    """Raise PgolfError for a device that has no kernel."""
    if not (x_ND.is_cuda or IS_INTERPRETED):
        device = x_ND.device.type
        raise PgolfError(f"model.mlp.implementation: cannot be used (triton); the device is {device}: {NEEDS_GPU}")


def tiles(pairs: int, dtype: torch.dtype, product: torch.dtype) -> dict[str, Any]:
    """Sizes of a tile, and how its products compute. pairs: P. dtype: of the angles. product: of y.

    Beside a product in bf16, the products of fp32 may be three of tf32, which keep 21 to 22 bits of a factor.
    """
    block = max(16, triton.next_power_of_2(pairs))
    short = product in (torch.bfloat16, torch.float16)
    small = block <= 64 and dtype == torch.float32
    return {
        "ROWS": 32 if small else 16,
        "BLOCK_P": block,
        "BLOCK_D": 64 if small else 32,
        "TYPE": tl.float64 if dtype == torch.float64 else tl.float32,
        "PRECISION": "tf32x3" if short and dtype == torch.float32 else "ieee",
    }


def forward(x_ND: Tensor, source: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """As `rotate_pairs` of pgolf.nn.pre_rotation_op."""
    (tokens, width), pairs, content = x_ND.shape, source.size(0), source.ndim == 2
    check_device(x_ND)
    compute = angle_dtype(x_ND, source)
    x_ND, source = x_ND.contiguous(), source.contiguous()
    y_ND = x_ND.new_empty(x_ND.shape, dtype=dtype)
    theta_NP = x_ND.new_empty((tokens if content else 0, pairs), dtype=compute)
    sizes = tiles(pairs, compute, dtype)
    if tokens:
        grid = (triton.cdiv(tokens, sizes["ROWS"]),)
        forward_kernel[grid](
            x_ND, source, y_ND, theta_NP, tokens, D=width, P=pairs, CONTENT=content, num_warps=WARPS, **sizes
        )
    return y_ND, theta_NP


def backward(g_ND: Tensor, x_ND: Tensor, source: Tensor, theta_NP: Tensor) -> tuple[Tensor, Tensor]:
    """As `rotate_pairs_backward` of pgolf.nn.pre_rotation_op."""
    (tokens, width), pairs, content = x_ND.shape, source.size(0), source.ndim == 2
    compute = angle_dtype(x_ND, source)
    g_ND, x_ND, source = g_ND.contiguous(), x_ND.contiguous(), source.contiguous()
    dx_ND = torch.empty_like(x_ND)
    dtheta_NP = x_ND.new_empty((tokens, pairs), dtype=compute)
    sizes = tiles(pairs, compute, g_ND.dtype)
    if tokens:
        grid = (triton.cdiv(tokens, sizes["ROWS"]),)
        backward_kernel[grid](
            g_ND,
            x_ND,
            source,
            theta_NP,
            dx_ND,
            dtheta_NP,
            tokens,
            D=width,
            P=pairs,
            CONTENT=content,
            BLOCK_C=min(32, sizes["BLOCK_P"]),
            num_warps=WARPS,
            **sizes,
        )
    return dx_ND, dtheta_NP
