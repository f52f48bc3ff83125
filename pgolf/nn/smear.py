"""SmearGate: each embedding is mixed with the one before it, by a learned gate (parameter-golf pull request 908)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.slots import Dims


class SmearGate(nn.Module):
    """e_t <- (1 - g) e_t + g e_{t-1} with g = sigmoid(p), p [D] starting at zero (g = 0.5), and e_{-1} = 0."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.p = nn.Parameter(torch.empty(dims.width))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.p)

    def forward(self, e_BTD: Tensor) -> Tensor:
        g = torch.sigmoid(self.p).to(e_BTD.dtype)
        return (1 - g) * e_BTD + g * F.pad(e_BTD[:, :-1], (0, 0, 1, 0))
