"""Output through the embedding's own table."""

from torch import Tensor

from pgolf.nn.readout import LogitHead
from pgolf.slots import Dims, Embedding


class Tied(LogitHead):
    """logits = softcap(unembed(x)), without parameters of its own (arXiv 1608.05859)."""

    def __init__(self, dims: Dims, embedding: Embedding):
        super().__init__(dims)
        self.unembed = embedding.unembed  # a bound method, so that only its own slot owns the embedding

    def scores(self, x_BTD: Tensor) -> Tensor:
        return self.unembed(x_BTD)
