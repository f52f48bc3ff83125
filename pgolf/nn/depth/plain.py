"""Blocks one after another."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from pgolf.slots import Dims


class Plain(nn.Module):
    """x <- block_i(x) for i = 0 .. L-1."""

    def __init__(self, dims: Dims):
        super().__init__()

    def forward(self, x_BTD: Tensor, blocks: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        for block in blocks:
            x_BTD = block(x_BTD)
        return x_BTD
