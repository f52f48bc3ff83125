"""Low-rank queries (parameter-golf pull request 215)."""

from torch import Tensor, nn

from pgolf.nn.primitives import Linear
from pgolf.slots import Dims


class LowRank(nn.Module):
    """q = U (D x) with D [R, D] and U [H*K, R], without a nonlinearity between the factors.

    rank: R, from 1 to the model width. A larger one costs more than the full matrix and adds no rank.
    """

    def __init__(self, dims: Dims, layer: int, *, rank: int):
        super().__init__()
        dims.check_rank(rank)
        self.down = Linear(dims.width, rank)
        self.up = Linear(rank, dims.heads * dims.head_dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.up(self.down(x_BTD))
