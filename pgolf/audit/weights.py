"""Other weights for a model, for a while: redrawn, or rounded at random. The old ones come back bit by bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def _floating(model: nn.Module) -> list[nn.Parameter]:
    """The floating parameters, shared ones once."""
    return [p for p in model.parameters() if p.is_floating_point()]


def plain_modules(model: nn.Module | None) -> list[nn.Module]:
    """The module and those in it, without compiled ones of torch.jit, whose attributes Python cannot replace."""
    return (
        [each for each in model.modules() if not isinstance(each, torch.jit.ScriptModule)] if model is not None else []
    )


@contextmanager
def preserved(model: nn.Module | None) -> Iterator[None]:
    """Restore all parameters, buffers and the random state of the CPU at the end, also after an exception.

    What a module keeps in other attributes is not restored.
    """
    modules = plain_modules(model)
    buffers = [dict(module._buffers) for module in modules]
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()] if model is not None else []
    saved = [tensor.detach().clone() for tensor in tensors]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for module, old in zip(modules, buffers, strict=True):
                module._buffers.update(old)  # a forward pass may have put new tensors there
            for tensor, values in zip(tensors, saved, strict=True):
                _write(tensor, values)


def _write(tensor: Tensor, values: Tensor) -> None:
    """Set the values of a tensor, also of one that was made in inference mode."""
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        tensor.copy_(values)


@torch.no_grad()
def redraw(model: nn.Module, scale: float, seed: int) -> None:
    """Draw every floating parameter from N(0, s^2), in place.

    s = scale / sqrt(last size) for matrices, so that sums stay of order one; s = scale for vectors and scalars. No
    path is multiplied by zero, as it is by many initial weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in _floating(model):
        drawn = torch.randn(parameter.shape, generator=generator)
        std = scale / parameter.size(-1) ** 0.5 if parameter.dim() > 1 else scale
        _write(parameter, drawn * std)


@contextmanager
def rounded(model: nn.Module, eps: float, seed: int) -> Iterator[None]:
    """Multiply every floating weight by 1 + eps z with z from N(0, 1), for a while."""
    generator = torch.Generator().manual_seed(seed)
    with preserved(model):
        with torch.no_grad():
            for parameter in _floating(model):
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.device)
                _write(parameter, parameter.double() * (1 + eps * noise))
        yield
