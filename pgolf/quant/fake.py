"""Running a model on fake-quantized weights: the forward pass sees what the packer would keep, the gradient reaches the
live weights.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from pgolf.nn.naming import ROOT

Fake = Callable[[str, Tensor], Tensor]


class FakeQuantized:
    """Calls a model with every parameter replaced by fake(name, parameter)."""

    def __init__(self, model: nn.Module, fake: Fake):
        self.model, self.fake = model, fake

    def __call__(self, *arguments: Tensor) -> Tensor:
        weights = {name: self.fake(f"{ROOT}.{name}", p) for name, p in self.model.named_parameters()}
        return functional_call(self.model, weights, arguments)
