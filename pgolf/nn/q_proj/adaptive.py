"""Low-rank queries with a rank for each block (proposed in parameter-golf pull request 215)."""

from pgolf.errors import require
from pgolf.nn.low_rank_map import LowRankMap
from pgolf.slots import Dims


class Adaptive(LowRankMap):
    """q = U n(D x) with D [R, D] and U [H*K, R], where R = ranks[layer] is that of the block.

    ranks: one per unique block, each from 1 to the model width. `pgolf.nn.rank_choice` makes such lists by depth and
    from spectra of a trained run, `python -m pgolf.inspect ranks RUN` prints them. norm: n is an RMS norm over R with a
    learned gain; otherwise it changes nothing.
    """

    def __init__(self, dims: Dims, layer: int, *, ranks: list[int], norm: bool):
        blocks = dims.unique_blocks
        require(len(ranks) == blocks, "ranks", ranks, f"give one rank per block, model.unique_blocks = {blocks} in all")
        fits = all(1 <= rank <= dims.width for rank in ranks)
        require(fits, "ranks", ranks, f"choose each rank from 1 to the model width, {dims.width}")
        super().__init__(dims.width, dims.heads * dims.head_dim, ranks[layer], norm=norm)
