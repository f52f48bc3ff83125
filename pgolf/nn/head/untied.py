"""An output matrix that is separate from the embedding."""

from torch import Tensor

from pgolf.nn.primitives import Linear
from pgolf.nn.readout import LogitHead
from pgolf.slots import Dims, Embedding


class Untied(LogitHead):
    """logits = softcap(W x) with W [V, D]. zero_up: start W at zero."""

    def __init__(self, dims: Dims, embedding: Embedding, *, zero_up: bool):
        super().__init__(dims)
        self.up = Linear(dims.width, dims.vocab_size, zero=zero_up)

    def scores(self, x_BTD: Tensor) -> Tensor:
        return self.up(x_BTD)
