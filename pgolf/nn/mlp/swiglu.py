"""Gated feed-forward layer with SiLU (SwiGLU, arXiv 2002.05202) at the size of the squared-ReLU layer."""

import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.nn.primitives import Linear
from pgolf.slots import Dims


class SwiGLU(nn.Module):
    """y = P (silu(G x) * F x) with G and F [N, D] and P [D, N], where N is 2/3 of `mlp_hidden` of the trunk, rounded.

    Three matrices of N have as many weights as two of mlp_hidden, up to rounding. P starts at zero.
    """

    def __init__(self, dims: Dims, layer: int):
        super().__init__()
        hidden = max(1, round(2 * dims.mlp_hidden / 3))
        self.gate = Linear(dims.width, hidden)
        self.fc = Linear(dims.width, hidden)
        self.proj = Linear(hidden, dims.width, zero=True, closes_branch=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.proj(F.silu(self.gate(x_BTD)) * self.fc(x_BTD))
