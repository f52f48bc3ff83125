"""Encoder and decoder halves with skips (the parameter-golf baseline)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pgolf.slots import Dims, Role


class UNet(nn.Module):
    """The first floor(L/2) blocks push their output on a stack. Before decoder block i, x <- x + w_i * pop().

    w [floor(L/2), D] starts at one. If L is odd, the last decoder block does not have a skip. The innermost skip adds
    the residual stream to itself, as in the published baseline.
    """

    def __init__(self, dims: Dims):
        super().__init__()
        self.skip_weights = nn.Parameter(torch.empty(dims.layers // 2, dims.width))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.skip_weights)

    def roles(self) -> dict[str, Role]:
        return {"skip_weights": "scalar"}

    def forward(self, x_BTD: Tensor, blocks: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        encoder = len(self.skip_weights)
        outputs: list[Tensor] = []
        for block in blocks[:encoder]:
            x_BTD = block(x_BTD)
            outputs.append(x_BTD)
        for i, block in enumerate(blocks[encoder:]):
            if outputs:
                x_BTD = x_BTD + self.skip_weights[i] * outputs.pop()
            x_BTD = block(x_BTD)
        return x_BTD
