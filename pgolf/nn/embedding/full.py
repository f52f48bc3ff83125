"""The token embedding of full rank."""

from torch import Tensor, nn

from pgolf.nn.primitives import Table
from pgolf.slots import Dims


class Full(nn.Module):
    """x = E[id] with E [V, D], drawn from N(0, init_std^2)."""

    def __init__(self, dims: Dims, *, init_std: float):
        super().__init__()
        self.table = Table(dims.vocab_size, dims.width, std=init_std)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.table(ids_BT)

    def unembed(self, x_BTD: Tensor) -> Tensor:
        return nn.functional.linear(x_BTD, self.table.weight)
