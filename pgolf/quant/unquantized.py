"""No quantization: the control that shows what quantization costs."""

from __future__ import annotations

import math

from torch import Tensor

from pgolf.errors import require
from pgolf.quant.codecs import check_codec
from pgolf.quant.encoding import FLOAT_BYTES, encode_values, round_values, straight_through
from pgolf.slots import Encoded


class Unquantized:
    """Every float tensor stored as `dtype` (fp32: lossless; fp16: rounded), compressed by `codec` at `level`."""

    def __init__(self, *, codec: str, level: int, dtype: str):
        check_codec(codec, level)
        require(
            isinstance(dtype, str) and dtype in FLOAT_BYTES, "dtype", dtype, f"give one of {', '.join(FLOAT_BYTES)}"
        )
        self.codec, self.level, self.dtype = codec, level, dtype

    def encode(self, name: str, tensor: Tensor) -> Encoded:
        """One tensor as an array. Raises ArtifactError if it holds NaN or infinity."""
        return encode_values(name, tensor, self.dtype)

    def fake(self, name: str, tensor: Tensor) -> Tensor:
        """decode(encode(tensor)) bit for bit, in fp32, with the gradient of `tensor` passed straight through."""
        return straight_through(tensor, round_values(tensor, self.dtype).float())

    def payload_bytes(self, name: str, shape: tuple[int, ...]) -> int:
        """Bytes of the array that `encode` makes of a float tensor of this shape, before compression."""
        return FLOAT_BYTES[self.dtype] * math.prod(shape)
