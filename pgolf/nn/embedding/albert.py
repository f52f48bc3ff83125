"""Factorised embedding (ALBERT, arXiv 1909.11942; parameter-golf pull request 1481)."""

from torch import Tensor, nn

from pgolf.nn.primitives import Linear, Table, draw
from pgolf.slots import Dims


class Orthogonal(Linear):
    """A linear map whose shorter side starts orthonormal."""

    def reset_parameters(self) -> None:
        draw(self.weight, nn.init.orthogonal_)


class Albert(nn.Module):
    """x = P E[id] with E [V, R] and P [D, R]; a tied head computes E (P^T x). The effective table is E P^T.

    rank: R, from 1 to the model width. init_std: standard deviation of E. orthogonal: start P with orthonormal columns.
    P cannot start at zero: with a tied head, neither E nor P would then receive a gradient.
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
