"""Squared-ReLU feed-forward layer behind a rotation of its input (parameter-golf pull request 215)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.pair_rotation import IMPLEMENTATIONS, angles
from pgolf.nn.primitives import Linear, squared_relu
from pgolf.nn.triton_limits import MOST_PAIRS, require_triton
from pgolf.slots import Dims


class Angles(nn.Module):
    """One learned angle per pair [P], the same for every input: the control. It starts at zero."""

    def __init__(self, pairs: int):
        super().__init__()
        self.theta = nn.Parameter(torch.empty(pairs))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.theta)

    @property
    def source(self) -> Tensor:
        """What `angles` of pgolf.nn.pair_rotation takes."""
        return self.theta


class ContentAngles(Linear):
    """theta = A x [B, T, P] with A [P, D], which starts at zero."""

    def __init__(self, width: int, pairs: int):
        super().__init__(width, pairs, zero=True)

    @property
    def source(self) -> Tensor:
        """What `angles` of pgolf.nn.pair_rotation takes."""
        return self.weight

    def forward(self, x_BTD: Tensor) -> Tensor:
        return angles(x_BTD, self.weight)


class PreRotation(nn.Module):
    """z = P relu(F y)^2, where y is x with the pairs (x_j, x_{j+p}), j < p, rotated by theta_j:

    y_j = x_j cos theta_j + x_{j+p} sin theta_j,  y_{j+p} = -x_j sin theta_j + x_{j+p} cos theta_j.

    pairs: p; the width must be at least 2 p. angle: content (theta = A x) or constant (a learned theta, the control).
    only_first: rotate in block 0 alone; the other blocks are plain. implementation: how F y is computed, as in
    `pgolf.nn.pair_rotation`; triton needs a GPU and the package triton. A and the angles start at zero, which is the
    plain layer. By default A belongs to the role `matrix`: under Muon its angles grow large whether or not they help.
    """

    def __init__(
        self,
        dims: Dims,
        layer: int,
        *,
        pairs: int,
        angle: Literal["content", "constant"],
        only_first: bool,
        implementation: Literal["eager", "split", "triton"],
    ):
        super().__init__()
        most = dims.width // 2
        require(
            1 <= pairs <= most, "pairs", pairs, f"choose from 1 to {most}, half of model.width, or a width of 2 x pairs"
        )
        require(
            implementation != "triton" or pairs <= MOST_PAIRS,
            "pairs",
            pairs,
            f"choose at most {MOST_PAIRS} with implementation=triton, or implementation=eager",
        )
        self.fc = Linear(dims.width, dims.mlp_hidden)
        self.proj = Linear(dims.mlp_hidden, dims.width, zero=True, closes_branch=True)
        self.angle: Angles | ContentAngles | None = None
        if layer == 0 or not only_first:
            self.angle = ContentAngles(dims.width, pairs) if angle == "content" else Angles(pairs)
        self.apply_fc = IMPLEMENTATIONS[implementation]

    @staticmethod
    def check_machine(options: Mapping[str, Any], device: str) -> None:
        """Raise UnavailableOption if this machine cannot compute the implementation on a device, `cpu` or `cuda`."""
        if options["implementation"] == "triton":
            require_triton("implementation", "triton", device)
            from pgolf.nn import pre_rotation_kernel, pre_rotation_op  # noqa: F401  # now part of the code of the run

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.angle is None:
            return self.proj(squared_relu(self.fc(x_BTD)))
        return self.proj(squared_relu(self.apply_fc(x_BTD, self.angle.source, self.fc.weight)))
