"""Hashed bigrams added before every block (parameter-golf pull request 908)."""

import torch
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.primitives import Linear, Table, previous_ids
from pgolf.slots import Dims, Role, Site


class BigramResidual(nn.Module):
    """x <- x + lambda_i P B[h_t] before block i, where h_t is a hash of the token ids id_t and id_{t-1}:

        h_t = ((36313 id_t) xor (27191 id_{t-1})) mod (buckets - 1),  h_0 = buckets - 1

    B [buckets, R] starts at zero, lambda [L] at lambda_init; P is [D, R]. buckets: rows of B. rank: R, from 1 to the
    model width.
    """

    site: Site = "residual"

    def __init__(self, dims: Dims, *, buckets: int, rank: int, lambda_init: float):
        super().__init__()
        require(buckets >= 2, "buckets", buckets, "choose 2 or more: the last one marks the first position")
        dims.check_rank(rank)
        self.layers = tuple(range(dims.layers))
        self.buckets, self.lambda_init = buckets, lambda_init
        self.table = Table(buckets, rank, std=0.0)
        self.projection = Linear(rank, dims.width)
        self.lambdas = nn.Parameter(torch.empty(dims.layers))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.lambdas, self.lambda_init)

    def roles(self) -> dict[str, Role]:
        return {"table.weight": "embedding", "projection.weight": "matrix", "lambdas": "scalar"}

    def bucket(self, ids_BT: Tensor) -> Tensor:
        """Row of the table for each position, [B, T]."""
        hashed = ((36313 * ids_BT) ^ (27191 * previous_ids(ids_BT, 0))) % (self.buckets - 1)
        first = torch.zeros_like(ids_BT, dtype=torch.bool)
        first[:, 0] = True
        return torch.where(first, self.buckets - 1, hashed)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.projection(self.table(self.bucket(ids_BT)))

    def gain(self, layer: int) -> Tensor:
        return self.lambdas[layer]
