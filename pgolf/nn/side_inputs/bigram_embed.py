"""Hashed bigrams added to the embedding (parameter-golf pull request 470)."""

import torch
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.primitives import Table, previous_ids
from pgolf.slots import Dims, Site


class BigramEmbed(nn.Module):
    """e_t += B[(1619 prev_t + x_t) mod buckets] with prev_t = x_{t-1} and prev_0 = 0; B [buckets, D] starts at zero.

    It is added before the first norm, so x0 contains it too. buckets: rows of B.
    """

    site: Site = "embed"
    layers: tuple[int, ...] = ()

    def __init__(self, dims: Dims, *, buckets: int):
        super().__init__()
        require(buckets >= 1, "buckets", buckets, "choose 1 or more")
        self.buckets = buckets
        self.table = Table(buckets, dims.width, std=0.0)

    def bucket(self, ids_BT: Tensor) -> Tensor:
        """Row of the table for each position, [B, T]."""
        return (1619 * previous_ids(ids_BT, 0) + ids_BT) % self.buckets

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.table(self.bucket(ids_BT))

    def gain(self, layer: int) -> Tensor:
        return torch.ones((), device=self.table.weight.device)
