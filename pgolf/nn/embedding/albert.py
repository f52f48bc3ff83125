"""Factorised embedding (ALBERT, arXiv 1909.11942; parameter-golf pull request 1481)."""

from torch import Tensor, nn

from pgolf.nn.primitives import Linear, Table
from pgolf.slots import Dims


class Orthogonal(Linear):
    """A linear map whose shorter side starts orthonormal."""

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.weight)


class Albert(nn.Module):
    """x = P E[id] with E [V, R] and P [D, R]; a tied head reads E (P^T x): the effective table is E P^T, of rank at
    most R.

    rank: R, from 1 to the model width. init_std: of the table. orthogonal: start P with orthonormal columns. There is
    no zero start: with P = 0 neither P nor the table would ever get a gradient.
    """

    def __init__(self, dims: Dims, *, rank: int, init_std: float, orthogonal: bool):
        super().__init__()
        dims.check_rank(rank)
        self.table = Table(dims.vocab_size, rank, std=init_std)
        self.projection = (Orthogonal if orthogonal else Linear)(rank, dims.width)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.projection(self.table(ids_BT))

    def unembed(self, x_BTD: Tensor) -> Tensor:
        down_BTR = nn.functional.linear(x_BTD, self.projection.weight.t())
        return nn.functional.linear(down_BTR, self.table.weight)
