"""One tensor as named little-endian arrays, and back: the schemes that a packed file may hold.

int    codes int8 [R, C] and scales fp16 or fp32 [R]; a weight is its code times the scale of its row
fp16   values as fp16
fp32   values as fp32
raw    values of integer or boolean type, unchanged

Shapes: R rows, C columns of a tensor laid out for coding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pgolf.errors import ArtifactError
from pgolf.slots import Encoded

RAW_DTYPES = ("|b1", "|i1", "|u1", "<i2", "<i4", "<i8")
SCHEMES: dict[str, dict[str, tuple[str, ...]]] = {
    "int": {"codes": ("|i1",), "scales": ("<f2", "<f4")},
    "fp16": {"values": ("<f2",)},
    "fp32": {"values": ("<f4",)},
    "raw": {"values": RAW_DTYPES},
}
FLOAT_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
FLOAT_BYTES = {"fp16": 2, "fp32": 4}


class _StraightThrough(torch.autograd.Function):
    """Returns the decoded weight, and passes its gradient to the live weight."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, live: Tensor, decoded: Tensor) -> Tensor:
        ctx.live_dtype = live.dtype  # type: ignore[attr-defined]
        return decoded

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].to(ctx.live_dtype), None  # type: ignore[attr-defined]


def straight_through(live: Tensor, decoded: Tensor) -> Tensor:
    """`decoded`, bit for bit, with the gradient of `live` (arXiv 1308.3432)."""
    return _StraightThrough.apply(live, decoded)


def round_values(tensor: Tensor, dtype: str) -> Tensor:
    """A new tensor of type `dtype` (fp16 or fp32); values outside the range of fp16 become its largest finite value."""
    if dtype == "fp16":
        limit = torch.finfo(torch.float16).max
        return tensor.detach().float().clamp(-limit, limit).to(torch.float16)
    return tensor.detach().to(FLOAT_DTYPES[dtype], copy=True)


def encode_values(name: str, tensor: Tensor, dtype: str) -> Encoded:
    """A tensor that is not coded as integers: floats as `dtype` (fp16 or fp32), integers and booleans unchanged.

    Raises ArtifactError if it holds NaN or infinity.
    """
    shape = tuple(tensor.shape)
    if tensor.is_floating_point():
        floats = round_values(finite_fp32(name, tensor), dtype).contiguous()
        return Encoded(dtype, 8 * FLOAT_BYTES[dtype], shape, {"values": floats.numpy()})
    values = np.array(tensor.detach().cpu().contiguous().numpy())
    return Encoded("raw", 8 * values.itemsize, shape, {"values": values})


def finite_fp32(name: str, tensor: Tensor) -> Tensor:
    """The tensor to be packed, detached, on the CPU, in fp32. Raises ArtifactError if it holds NaN or infinity."""
    values = tensor.detach().cpu().float()
    if count := values.numel() - int(torch.isfinite(values).sum()):
        raise ArtifactError(
            f"{name}: {count} of {values.numel()} weights are NaN or infinite; such a model cannot be packed"
        )
    return values


def dequantize(codes_RC: Tensor, scales_R: Tensor) -> Tensor:
    """Weights [R, C] in fp32: int8 codes times the scale of their row. With fp16 scales the product is exact."""
    return codes_RC.float() * scales_R.float()[:, None]


def decode(encoded: Encoded) -> Tensor:
    """The tensor that a packed model runs with, a copy: fp32, or the stored type for scheme `raw`."""
    arrays = {key: torch.from_numpy(np.array(array)) for key, array in encoded.arrays.items()}
    if encoded.scheme == "int":
        return dequantize(arrays["codes"], arrays["scales"]).reshape(encoded.shape)
    values = arrays["values"].reshape(encoded.shape)
    return values if encoded.scheme == "raw" else values.float()


def uncompressed_bytes(encoded: Mapping[str, Encoded]) -> int:
    """Bytes of all arrays before compression: 1 per int code, 2 or 4 per scale and per float."""
    return sum(array.nbytes for tensor in encoded.values() for array in tensor.arrays.values())


def entropy_of(encoded: Encoded) -> int:
    """Order-0 bound of a tensor in bytes: what ideal coders with one table per byte plane of each array would need.

    The tables are not counted. A coder that distinguishes rows can need less.
    """
    planes = [
        array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)[:, plane]
        for array in map(np.ascontiguousarray, encoded.arrays.values())
        for plane in range(array.dtype.itemsize)
    ]
    return sum(_entropy_bytes(np.bincount(plane, minlength=256)) for plane in planes)


def _entropy_bytes(counts: np.ndarray) -> int:
    """Bytes of symbols with these counts under an ideal order-0 coder, rounded up."""
    n = counts[counts > 0].astype(np.float64)
    return math.ceil(float((n * np.log2(n.sum() / n)).sum()) / 8)


def array_shapes(
    name: str, scheme: str, bits: int, shape: tuple[int, ...], arrays: Mapping[str, tuple[str, int]]
) -> dict[str, tuple[int, ...]]:
    """The shape of each array, by name. arrays: name -> (numpy dtype, length in bytes).

    Raises ArtifactError if dtypes and lengths do not fit scheme, bits and shape.
    """
    fields = SCHEMES.get(scheme)
    if (
        fields is None
        or arrays.keys() != fields.keys()
        or any(dtype not in fields[key] for key, (dtype, _) in arrays.items())
    ):
        types = {key: dtype for key, (dtype, _) in arrays.items()}
        raise ArtifactError(f"{name}: unknown scheme {scheme!r:.20}, or wrong arrays for it ({types!r:.80})")
    numel = math.prod(shape)
    if scheme == "int":
        rows, odd = divmod(arrays["scales"][1], np.dtype(arrays["scales"][0]).itemsize)
        if 2 <= bits <= 8 and arrays["codes"][1] == numel and not odd and 0 < rows <= numel and numel % rows == 0:
            return {"codes": (rows, numel // rows), "scales": (rows,)}
    else:
        dtype, length = arrays["values"]
        size = np.dtype(dtype).itemsize
        if bits == 8 * size and length == numel * size:
            return {"values": shape}
    raise ArtifactError(
        f"{name}: array lengths do not fit shape {list(shape)!r:.80} in scheme {scheme} with {bits} bits"
    )


def check_values(name: str, encoded: Encoded) -> None:
    """Raise ArtifactError unless floats are finite, codes lie within their bits and booleans are 0 or 1."""
    for array in encoded.arrays.values():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ArtifactError(f"{name}: holds NaN or infinity")
        if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
            raise ArtifactError(f"{name}: holds a boolean that is neither 0 nor 1")
    if encoded.scheme == "int":
        codes, limit = encoded.arrays["codes"], 2 ** (encoded.bits - 1)
        if codes.min() < -limit or codes.max() >= limit:
            raise ArtifactError(f"{name}: holds codes outside {encoded.bits} bits")
