"""Low-rank queries (parameter-golf pull request 215)."""

from pgolf.nn.low_rank_map import LowRankMap
from pgolf.slots import Dims


class LowRank(LowRankMap):
    """q = U n(D x) with D [R, D] and U [H*K, R], without a nonlinearity between the factors.

    rank: R, from 1 to the model width. A larger one costs more than the full matrix and adds no rank. norm: n is an RMS
    norm over R with a learned gain; otherwise it changes nothing.
    """

    def __init__(self, dims: Dims, layer: int, *, rank: int, norm: bool):
        dims.check_rank(rank)
        super().__init__(dims.width, dims.heads * dims.head_dim, rank, norm=norm)
