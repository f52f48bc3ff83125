"""Squared-ReLU feed-forward layer (Primer, arXiv 2109.08668)."""

from torch import Tensor, nn

from pgolf.nn.primitives import Linear, squared_relu
from pgolf.slots import Dims


class Relu2(nn.Module):
    """y = P relu(F x)^2 with F [M, D] and P [D, M], where M is `mlp_hidden` of the trunk. P starts at zero."""

    def __init__(self, dims: Dims, layer: int):
        super().__init__()
        self.fc = Linear(dims.width, dims.mlp_hidden)
        self.proj = Linear(dims.mlp_hidden, dims.width, zero=True, closes_branch=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.proj(squared_relu(self.fc(x_BTD)))
