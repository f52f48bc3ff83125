"""Pieces that several variants share. Every module here owns its initialisation in `reset_parameters`, torch's convention.

Shapes: B batch, T time, D model width, H heads, K head dim, V vocabulary.
"""

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """Bias-free linear map, weight [out, in] drawn from U(-1/sqrt(in), 1/sqrt(in)), or zero where the map closes a residual branch."""

    def __init__(self, in_features: int, out_features: int, *, zero: bool = False):
        self.zero = zero
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        if self.zero:
            nn.init.zeros_(self.weight)
        else:
            nn.init.uniform_(self.weight, -(self.in_features**-0.5), self.in_features**-0.5)


class Table(nn.Embedding):
    """Lookup table, weight [rows, width] drawn from N(0, std^2)."""

    def __init__(self, rows: int, width: int, *, std: float):
        self.std = std
        super().__init__(rows, width)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last dimension, no learned gain; eps is the fp32 epsilon."""
    return F.rms_norm(x, (x.size(-1),))


def softcap(z: Tensor, cap: float) -> Tensor:
    """cap * tanh(z / cap) in fp32: bounded logits."""
    return cap * torch.tanh(z.float() / cap)


def rotary_angles(time: int, rotary_dims: int, base: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin [T, rotary_dims / 2] of position * base^(-2j / rotary_dims), positions and frequencies in fp32."""
    frequency = base ** (-torch.arange(0, rotary_dims, 2, dtype=torch.float32, device=device) / rotary_dims)
    angle = torch.outer(torch.arange(time, dtype=torch.float32, device=device), frequency)
    return angle.cos(), angle.sin()


def rotate(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-split rotary embedding (arXiv 2104.09864): y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos."""
    x1, x2 = x_BTHK.float().chunk(2, dim=-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.cat((x1 * cos + x2 * sin, x2 * cos - x1 * sin), dim=-1).type_as(x_BTHK)


def seed_of(seed: int, name: str) -> int:
    """A 63-bit seed for one named thing: runs with one seed share the draws of the names they have in common."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


def initialise(model: nn.Module, seed: int, device: torch.device) -> None:
    """Give a model built on the meta device its memory on `device` and its initial weights.

    Each module that owns parameters draws them in its own `reset_parameters` from a CPU generator seeded by (seed, module name): arms of
    one study share, bit for bit, the weights that they have in common, on any device.
    """
    model.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            if next(module.parameters(recurse=False), None) is None and next(module.buffers(recurse=False), None) is None:
                continue
            reset = getattr(module, "reset_parameters", None)
            assert reset is not None, f"{name}: {type(module).__name__} owns tensors but has no reset_parameters()"
            torch.manual_seed(seed_of(seed, name))
            reset()
    model.to(device)
