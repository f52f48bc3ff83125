"""Layers and functions that several variants share. Modules initialise their weights in `reset_parameters`.

Shapes: B batch, T time, D model width, H heads, K head dim, V vocabulary.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.fused import NormedRotation, RmsNorm, SoftcapNll, SquaredRelu, use_fused


def draw(weight: Tensor, init: Callable[..., Tensor], **options: float) -> None:
    """Draw initial values with a function of torch.nn.init. Without memory, on the meta device, there are none to draw:
    torch would only import its compiler, which takes a second.
    """
    if not weight.is_meta:
        init(weight, **options)


class Linear(nn.Linear):
    """Linear map without bias; the weight [out, in] is drawn from U(-1/sqrt(in), 1/sqrt(in)), or zero.

    closes_branch: the output is added to the residual stream; the orthogonal scheme scales such maps by branch_gain.
    """

    def __init__(self, in_features: int, out_features: int, *, zero: bool = False, closes_branch: bool = False):
        self.zero, self.closes_branch = zero, closes_branch
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        if self.zero:
            nn.init.zeros_(self.weight)
        else:
            bound = self.in_features**-0.5
            draw(self.weight, nn.init.uniform_, a=-bound, b=bound)


class Table(nn.Embedding):
    """Lookup table; the weight [rows, width] is drawn from N(0, std^2). A negative std raises OptionError."""

    def __init__(self, rows: int, width: int, *, std: float):
        require(std >= 0, "init_std", std, "choose 0 or more")
        self.std = std
        super().__init__(rows, width)

    def reset_parameters(self) -> None:
        draw(self.weight, nn.init.normal_, std=self.std)


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last dimension, without a learned gain; eps is the epsilon of x's type."""
    return RmsNorm.apply(x) if use_fused(x) else F.rms_norm(x, (x.size(-1),))


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    return SquaredRelu.apply(x) if use_fused(x) else x.relu().square()


def softcap(z: Tensor, cap: float) -> Tensor:
    """Logits in (-cap, cap), fp32: cap * tanh(z / cap)."""
    return cap * torch.tanh(z.float() / cap)


def softcap_nll(z_BTV: Tensor, y_BT: Tensor, cap: float) -> Tensor:
    """-log softmax(softcap(z)) at the targets y [B, T]; [B, T] in fp32, or in fp64 where fused."""
    if use_fused(z_BTV):
        nll_N: Tensor = SoftcapNll.apply(z_BTV.flatten(0, -2), y_BT.flatten(), cap)
    else:
        nll_N = F.cross_entropy(softcap(z_BTV, cap).flatten(0, -2), y_BT.flatten(), reduction="none")
    return nll_N.view_as(y_BT)


def bf16_values(x: Tensor) -> Tensor:
    """Finite fp32 numbers, rounded to bf16 (half to even) and kept in fp32.

    By their bits: torch.compile leaves out a conversion to bf16 and back.
    """
    bits = x.view(torch.int32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).view(torch.float32)


def rotary_angles(
    time: int,
    rotary_dims: int,
    base: float,
    device: torch.device,
    *,
    bf16_frequencies: bool = False,
    bf16_positions: bool = False,
) -> tuple[Tensor, Tensor]:
    """cos and sin [T, rotary_dims / 2] of position * base^(-2j / rotary_dims), positions and frequencies in fp32.

    bf16_frequencies: round the frequencies to bf16, an error of up to 0.4%. Runs that cast their whole model did so.
    bf16_positions: round the positions to bf16. Of 1,024 positions 513 are left: from 256 on, neighbours share one. The
    baseline's trainer asks for positions in the type of the frequencies.
    """
    frequency = base ** (-torch.arange(0, rotary_dims, 2, dtype=torch.float32, device=device) / rotary_dims)
    if bf16_frequencies:
        frequency = bf16_values(frequency)
    position = torch.arange(time, dtype=torch.float32, device=device)
    angle = torch.outer(bf16_values(position) if bf16_positions else position, frequency)
    return angle.cos(), angle.sin()


def rotate(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (arXiv 2104.09864) of the first 2 * cos.size(1) dims, split in halves x1 and x2; [B, T, H, K].

    y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos. The remaining dims are unchanged.
    """
    half = cos.size(1)
    x1, x2, rest = x_BTHK.split([half, half, x_BTHK.size(-1) - 2 * half], dim=-1)
    x1, x2 = x1.to(cos.dtype), x2.to(cos.dtype)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.cat(((x1 * cos + x2 * sin).type_as(rest), (x2 * cos - x1 * sin).type_as(rest), rest), dim=-1)


def normed_rotation(x_BTHK: Tensor, rotary: tuple[Tensor, Tensor], gain_H: Tensor | None = None) -> Tensor:
    """rotate(rms_norm(x)) of every head [B, T, H, K], times a gain per head [H] if given. rotary: cos and sin."""
    if use_fused(x_BTHK) and rotary[0].dtype == x_BTHK.dtype:
        return NormedRotation.apply(x_BTHK, *rotary, gain_H)
    y_BTHK = rotate(rms_norm(x_BTHK), *rotary)
    return y_BTHK if gain_H is None else y_BTHK * gain_H.to(y_BTHK.dtype)[:, None]


def previous_ids(ids_BT: Tensor, first: int) -> Tensor:
    """ids [B, T] shifted one position later, with `first` at position 0."""
    return torch.nn.functional.pad(ids_BT[:, :-1], (1, 0), value=first)


def autocast_device(x: Tensor) -> str:
    """The name by which autocast knows a tensor's device. It has none for tensors without data."""
    return "cpu" if x.is_meta else x.device.type


def seed_of(seed: int, name: str) -> int:
    """A 63-bit seed for one name. Runs with the same seed draw the same numbers for the names that they share."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class InitScheme:
    """Initial weights of linear maps: those of their class (`default`), or (semi-)orthogonal of gain 1 (`orthogonal`).

    The orthogonal scheme overwrites every linear map with both sides at least min_dim. It multiplies maps that close a
    residual branch by branch_gain, and keeps other maps that a variant starts at zero.
    """

    name: Literal["default", "orthogonal"] = "default"
    min_dim: int = 0
    branch_gain: float = 1.0

    def apply(self, module: nn.Module) -> None:
        """Overwrite the weight of one module, drawing from the default generator."""
        if self.name == "default" or not isinstance(module, nn.Linear) or min(module.weight.shape) < self.min_dim:
            return
        closes = getattr(module, "closes_branch", False)
        if getattr(module, "zero", False) and not closes:
            return
        nn.init.orthogonal_(module.weight)
        if closes:
            with torch.no_grad():
                module.weight.mul_(self.branch_gain)


DEFAULT_INIT = InitScheme()


def allocate(model: nn.Module, device: torch.device) -> None:
    """Give a model that was built on the meta device memory, as `to_empty` does, which would import sympy."""
    model._apply(lambda t: torch.empty(t.shape, dtype=t.dtype, device=device))


def initialise(model: nn.Module, seed: int, device: torch.device, scheme: InitScheme = DEFAULT_INIT) -> None:
    """Allocate a model that was built on the meta device, draw its initial weights, and move it to `device`.

    Each module that owns parameters draws them in `reset_parameters` from a CPU generator seeded by (seed, module
    name). So arms of one study share the weights that they have in common, bit for bit, on any device.
    """
    allocate(model, torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            if (
                next(module.parameters(recurse=False), None) is None
                and next(module.buffers(recurse=False), None) is None
            ):
                continue
            reset = getattr(module, "reset_parameters", None)
            assert reset is not None, f"{name}: {type(module).__name__} owns tensors but has no reset_parameters()"
            torch.default_generator.manual_seed(seed_of(seed, name))
            reset()
            scheme.apply(module)
    model.to(device)
