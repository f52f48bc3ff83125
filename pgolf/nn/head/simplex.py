"""A softmax bottleneck before the output projection (parameter-golf pull request 908, H6)."""

import torch
from torch import Tensor

from pgolf.errors import require
from pgolf.nn.primitives import Linear
from pgolf.nn.readout import LogitHead
from pgolf.slots import Dims, Embedding


class Simplex(LogitHead):
    """logits = softcap(U softmax(S x)) with S [R, D] and U [V, R]: every logit is a convex combination of a row of U.

    rank: R, the number of corners of the simplex, from 2 to the vocabulary size. zero_up: start U at zero.
    """

    def __init__(self, dims: Dims, embedding: Embedding, *, rank: int, zero_up: bool):
        super().__init__(dims)
        require(2 <= rank <= dims.vocab_size, "rank", rank, f"choose from 2 to the vocabulary size, {dims.vocab_size}")
        self.to_simplex = Linear(dims.width, rank)
        self.from_simplex = Linear(rank, dims.vocab_size, zero=zero_up)

    def scores(self, x_BTD: Tensor) -> Tensor:
        return self.from_simplex(torch.softmax(self.to_simplex(x_BTD).float(), dim=-1).type_as(x_BTD))
