"""A tied head whose scores get a learned bias per token."""

import torch
from torch import Tensor, nn

from pgolf.nn.readout import LogitHead
from pgolf.slots import Dims, Embedding


class Biased(LogitHead):
    """logits = softcap(unembed(x) + b) with a learned b, [V], that starts at `start`."""

    def __init__(self, dims: Dims, embedding: Embedding, *, start: float):
        super().__init__(dims)
        self.unembed, self.start = embedding.unembed, start
        self.b_V = nn.Parameter(torch.empty(dims.vocab_size))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.b_V, self.start)

    def scores(self, x_BTD: Tensor) -> Tensor:
        return self.unembed(x_BTD) + self.b_V
