"""Fake quantization: the forward pass uses the weights that the packed file would hold; gradients reach the live ones.

Source: quantization-aware training with a straight-through gradient (arXiv 1712.05877, arXiv 1308.3432).
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from pgolf.nn.naming import ROOT

Fake = Callable[[str, Tensor], Tensor]  # (parameter name, weight) -> the weight as the packed file would hold it


class FakeQuantized:
    """Calls a model with every parameter replaced by fake(name, parameter)."""

    def __init__(self, model: nn.Module, fake: Fake):
        self.model, self.fake = model, fake

    def __call__(self, *arguments: Tensor | int | None) -> Tensor:
        weights = {name: self.fake(f"{ROOT}.{name}", p) for name, p in self.model.named_parameters()}
        return functional_call(self.model, weights, arguments)
