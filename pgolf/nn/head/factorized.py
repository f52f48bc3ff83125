"""A low-rank output matrix (parameter-golf pull request 908, H1 and H2)."""

from torch import Tensor

from pgolf.nn.primitives import Linear
from pgolf.nn.readout import LogitHead
from pgolf.slots import Dims, Embedding


class Factorized(LogitHead):
    """logits = softcap(U (D x)) with D [R, D] and U [V, R].

    rank: R, from 1 to the model width. zero_up: start U at zero.
    """

    def __init__(self, dims: Dims, embedding: Embedding, *, rank: int, zero_up: bool):
        super().__init__(dims)
        dims.check_rank(rank)
        self.down = Linear(dims.width, rank)
        self.up = Linear(rank, dims.vocab_size, zero=zero_up)

    def scores(self, x_BTD: Tensor) -> Tensor:
        return self.up(self.down(x_BTD))
