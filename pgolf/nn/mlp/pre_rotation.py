"""Squared-ReLU feed-forward layer behind a rotation of its input (parameter-golf pull request 215)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.pair_rotation import IMPLEMENTATIONS
from pgolf.nn.primitives import Linear, squared_relu
from pgolf.slots import Dims


class Angles(nn.Module):
    """One learned angle per pair [P], the same for every input: the control. It starts at zero."""

    def __init__(self, pairs: int):
        super().__init__()
        self.theta = nn.Parameter(torch.empty(pairs))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.theta)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.theta


class ContentAngles(Linear):
    """theta = A x [B, T, P] with A [P, D], which starts at zero. Under autocast it stays in the type of A: the cosine
    of a large angle in bf16 would be noise.
    """

    def __init__(self, width: int, pairs: int):
        super().__init__(width, pairs, zero=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        with torch.autocast("cpu" if x_BTD.is_meta else x_BTD.device.type, enabled=False):
            return F.linear(x_BTD.to(self.weight.dtype), self.weight)


class PreRotation(nn.Module):
    """z = P relu(F y)^2, where y is x with the pairs (x_j, x_{j+p}), j < p, rotated by theta_j:

    y_j = x_j cos theta_j + x_{j+p} sin theta_j,  y_{j+p} = -x_j sin theta_j + x_{j+p} cos theta_j.

    pairs: p; the width must be at least 2 p. angle: content (theta = A x) or constant (a learned theta, the control).
    only_first: rotate in block 0 alone; the other blocks are plain. implementation: how F y is computed, as in
    `pgolf.nn.pair_rotation`. A and the angles start at zero, which is the plain layer. By default A belongs to the role
    `matrix`: under Muon its angles grow large whether or not they help.
    """

    def __init__(
        self,
        dims: Dims,
        layer: int,
        *,
        pairs: int,
        angle: Literal["content", "constant"],
        only_first: bool,
        implementation: Literal["eager", "split"],
    ):
        super().__init__()
        most = dims.width // 2
        require(
            1 <= pairs <= most, "pairs", pairs, f"choose from 1 to {most}, half of model.width, or a width of 2 x pairs"
        )
        self.fc = Linear(dims.width, dims.mlp_hidden)
        self.proj = Linear(dims.mlp_hidden, dims.width, zero=True, closes_branch=True)
        self.angle: nn.Module | None = None
        if layer == 0 or not only_first:
            self.angle = ContentAngles(dims.width, pairs) if angle == "content" else Angles(pairs)
        self.apply_fc = IMPLEMENTATIONS[implementation]

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.angle is None:
            return self.proj(squared_relu(self.fc(x_BTD)))
        return self.proj(squared_relu(self.apply_fc(x_BTD, self.angle(x_BTD), self.fc.weight)))
