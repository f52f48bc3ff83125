"""Angles of pre-rotation on some tokens, beside the same map on a scrambled input and random maps on the same input.

theta = A x is large if A is, whatever its rows point at. The control keeps A and the numbers of each x, and puts the
dims of each token in a random order of its own. Angles beyond those of the control come from the directions of A.
Tokens in another order would not be a control: each angle depends on its own token alone.

Shapes: N tokens, D model width, P pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pgolf.inspect.factored import check_finite
from pgolf.inspect.random_reference import DRAWS, SEED, Compared, reference
from pgolf.inspect.report import number_text, table
from pgolf.inspect.spectra import effective_rank, singular_values
from pgolf.nn.gpt import GPT
from pgolf.nn.primitives import seed_of


@dataclass(frozen=True)
class Size:
    """Of angles over tokens and pairs, in degrees: the root of the mean square, and the largest absolute value."""

    rms_degrees: float
    largest_degrees: float


@dataclass(frozen=True)
class LayerAngles:
    """The angles of one pass through a layer. The last three are None for angles that do not depend on the input.

    scrambled: of the same map for inputs whose dims are in a random order. map_rank: the effective rank of A beside
    Gaussian matrices of its size. angle_rank: that of the angles [N, P] beside those of Gaussian maps on these inputs.
    """

    layer: int
    size: Size
    scrambled: Size | None
    map_rank: Compared | None
    angle_rank: Compared | None

    def to_dict(self) -> dict[str, Any]:
        ranks = {"map_effective_rank": self.map_rank, "angle_effective_rank": self.angle_rank}
        return {
            "layer": self.layer,
            **asdict(self.size),
            "scrambled": None if self.scrambled is None else asdict(self.scrambled),
            **{name: None if rank is None else rank.to_dict() for name, rank in ranks.items()},
        }


def size_of(theta: Tensor) -> Size:
    """The size of angles in radians, of any shape."""
    return Size(math.degrees(float(theta.square().mean().sqrt())), math.degrees(float(theta.abs().max())))


def scrambled(x_ND: Tensor, generator: torch.Generator) -> Tensor:
    """Each row of x with its numbers in a random order of its own."""
    return x_ND.gather(1, torch.rand(x_ND.shape, generator=generator).argsort(1))


def rank_of(values: np.ndarray) -> float | None:
    """The effective rank of singular values; None if all are zero."""
    return effective_rank(values) if values[0] > 0 else None


def angle_ranks(x_ND: Tensor, map_PD: Tensor, draws: int) -> Compared:
    """The effective rank of the angles [N, P] beside those of Gaussian maps on the same inputs. In float64."""
    r = torch.linalg.qr(x_ND).R  # R A^T has the singular values of x A^T
    generator = torch.Generator().manual_seed(seed_of(SEED, f"random angles {tuple(map_PD.shape)}"))
    maps = torch.randn((draws, *map_PD.shape), generator=generator, dtype=torch.float64)
    numbers = np.array([effective_rank(singular_values(r @ random.T)) for random in maps])
    value, low, high = rank_of(singular_values(r @ map_PD.T)), float(numbers.min()), float(numbers.max())
    if value is None:
        return Compared(None, low, high, None, False)
    spread = float(numbers.std(ddof=1))
    sds = float((value - numbers.mean()) / spread) if spread > 0 else None
    return Compared(value, low, high, sds, not low <= value <= high)


def layer_angles(layer: int, x_ND: Tensor, source: Tensor, draws: int = DRAWS) -> LayerAngles:
    """The angles of a map A [P, D], or of angles [P], on some inputs. draws: random matrices, at least 2."""
    if source.ndim == 1:
        return LayerAngles(layer, size_of(source.double()), None, None, None)
    x_ND, map_PD = x_ND.double(), source.double()
    generator = torch.Generator().manual_seed(seed_of(SEED, f"scrambled input {layer}"))
    map_rank = reference(tuple(map_PD.shape), draws).compare("effective_rank", rank_of(singular_values(map_PD)))
    return LayerAngles(
        layer,
        size_of(x_ND @ map_PD.T),
        size_of(scrambled(x_ND, generator) @ map_PD.T),
        map_rank,
        angle_ranks(x_ND, map_PD, draws) if x_ND.any() else None,
    )


def source_of(mlp: nn.Module) -> Tensor | None:
    """A [P, D] or angles [P] of a layer that rotates its input, else None: the `source` of its part `angle`.

    Not by its class: code that a command imports would no longer count as code of the run.
    """
    source = getattr(getattr(mlp, "angle", None), "source", None)
    return source if isinstance(source, Tensor) else None


def rotates(model: GPT) -> bool:
    """Whether any layer of a model rotates its input."""
    return any(source_of(mlp) is not None for mlp in model.mlp)


@torch.no_grad()
def pre_rotation(model: GPT, ids_BT: Tensor, draws: int = DRAWS) -> list[LayerAngles]:
    """The angles of each pass that rotates its input, on some tokens [B, T] of a model on the CPU."""
    calls: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda own, inputs: calls.append((own, inputs[0].flatten(0, -2))))
        for module in model.mlp
    ]
    try:
        model.hidden(ids_BT)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, (_, x_ND) in enumerate(calls):
        check_finite([x_ND], f"layer {layer}", "the inputs of its MLP")
    return [
        layer_angles(layer, x_ND, source, draws)
        for layer, (mlp, x_ND) in enumerate(calls)
        if (source := source_of(mlp)) is not None
    ]


def angle_lines(found: Sequence[LayerAngles]) -> list[str]:
    """The angles as a table."""

    def sizes(size: Size | None) -> list[str]:
        return ["-", "-"] if size is None else [f"{size.rms_degrees:.1f}", f"{size.largest_degrees:.1f}"]

    def rank(compared: Compared | None) -> list[str]:
        if compared is None:
            return ["-", ""]
        star = "*" if compared.outside else " "
        return [number_text(compared.value) + star, f"[{compared.low:.1f}, {compared.high:.1f}]"]

    titles = ["rms", "largest", "scrambled rms", "largest", "effective rank of A", "random", "of the angles", "random"]
    rows = [["pre-rotation, degrees", *titles]]
    rows += [
        [f"  layer {one.layer}", *sizes(one.size), *sizes(one.scrambled), *rank(one.map_rank), *rank(one.angle_rank)]
        for one in found
    ]
    return [
        *table(rows),
        "  scrambled: the dims of each token's input in a random order. Large angles under Muon prove nothing",
    ]
