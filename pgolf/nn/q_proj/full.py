"""The query projection of full rank."""

from torch import Tensor, nn

from pgolf.nn.primitives import Linear
from pgolf.slots import Dims


class Full(nn.Module):
    """q = W x with W [H*K, D]."""

    def __init__(self, dims: Dims, layer: int):
        super().__init__()
        self.proj = Linear(dims.width, dims.heads * dims.head_dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.proj(x_BTD)
