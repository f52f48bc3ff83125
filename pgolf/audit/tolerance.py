"""How far two results may differ: measured where the same arithmetic repeats, derived where its order changes."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pgolf.audit.weights import rounded

NARROW = (torch.bfloat16, torch.float16, torch.float32)
ROUNDING_DRAWS = 4  # how often the weights are rounded at random
ROUNDING_SAFETY = 8.0  # times the largest change that such a rounding makes
WITHOUT_WEIGHTS = 64.0  # roundings in a row, where no weights are known
NOISE_SAFETY = 4.0  # times the largest difference of identical calls


@dataclass(frozen=True)
class Change:
    """The largest difference of two log-probabilities [B, T, V], in nats, and where it is."""

    size: float = 0.0
    row: int = 0
    position: int = 0
    entry: int = 0


def largest_change(a_BTV: Tensor, b_BTV: Tensor) -> Change:
    """The largest difference of two tensors of equal shape. Equal infinities are equal; NaN against a number is inf."""
    if a_BTV.numel() == 0 or torch.equal(a_BTV, b_BTV):
        return Change()
    a, b = a_BTV.double(), b_BTV.double()
    size = torch.where((a == b) | (a.isnan() & b.isnan()), torch.zeros_like(a), (a - b).abs())
    size = size.nan_to_num(nan=math.inf, posinf=math.inf)
    row, position, entry = (int(i) for i in torch.unravel_index(size.argmax(), size.shape))
    return Change(float(size[row, position, entry]), row, position, entry)


def largest_finite(logp: Tensor) -> float:
    """The largest magnitude among the finite values, 0 without any."""
    finite = logp[logp.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def narrowest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """The type with the coarsest rounding."""
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def precision_of(values: Tensor) -> torch.dtype:
    """The narrowest type that holds every value exactly: bf16 results that were widened are still bf16 results."""
    for dtype in NARROW:
        if torch.finfo(dtype).eps > torch.finfo(values.dtype).eps and torch.equal(
            values.to(dtype).to(values.dtype).nan_to_num(), values.nan_to_num()
        ):
            return dtype
    return values.dtype


class _Activations(TorchDispatchMode):
    """Collects the floating types of all tensors whose first size is one of `sizes`: those that depend on the input.

    sizes: None stands for all sizes.
    """

    def __init__(self, sizes: set[int] | None):
        super().__init__()
        self.sizes, self.found = sizes, set[torch.dtype]()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch would else load its compiler for the first call, which takes two seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            floating = isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dim() > 0
            if floating and (self.sizes is None or tensor.size(0) in self.sizes):
                self.found.add(tensor.dtype)
        return out


def arithmetic_of(call: Callable[[Tensor], Tensor], ids_BT: Tensor) -> torch.dtype:
    """The coarsest type that a call computes activations in. Choose B and B*T unlike the sizes of weights.

    Compiled functions hide their inner tensors. Then it is the type of the result.
    """
    batch, length = ids_BT.shape
    with _Activations({batch, batch * length}) as seen:
        result = call(ids_BT)
    return narrowest({precision_of(result), *seen.found})


@contextmanager
def seen_types() -> Iterator[set[torch.dtype]]:
    """Collect the floating types of all results that are computed within, scalars apart."""
    with _Activations(None) as seen:
        yield seen.found


@dataclass(frozen=True)
class Tolerance:
    """Largest difference, in nats, that the order of the same arithmetic explains. text: how it was derived.

    eps: the relative rounding error of that arithmetic.
    """

    nats: float
    text: str
    eps: float = torch.finfo(torch.float32).eps


def sum_tolerance(logp_BTV: Tensor) -> Tolerance:
    """For log(sum(exp(logp))): each of its V terms is rounded once, and so is the normaliser.

    eps * (8 + 4 max|logp| + sqrt(V)), with the eps of the narrowest type that holds the values.
    """
    dtype = precision_of(logp_BTV)
    eps, largest, vocab = torch.finfo(dtype).eps, largest_finite(logp_BTV), logp_BTV.size(-1)
    text = f"{name_of(dtype)} results, eps {eps:.1e} x (8 + 4 x {largest:.3g} + sqrt({vocab}))"
    return Tolerance(eps * (8 + 4 * largest + math.sqrt(vocab)), text, eps)


def shape_tolerance(
    call: Callable[[Tensor], Tensor], ids_BT: Tensor, dtype: torch.dtype, model: nn.Module | None, seed: int
) -> Tolerance:
    """For results whose batch size or length differ: sums are then added in another order.

    eps * sqrt(T) * (1 + max|logp|), plus how strongly the function amplifies rounding. With the model's weights that
    is measured: each weight is rounded at random by one eps, and the largest change counts ROUNDING_SAFETY times.
    Without them it is taken as WITHOUT_WEIGHTS roundings. Pass no model if identical calls differ: that difference
    would be taken for rounding.
    """
    base, eps, length = call(ids_BT), torch.finfo(dtype).eps, ids_BT.size(1)
    size = eps * math.sqrt(length) * (1 + largest_finite(base))
    if model is None:
        return magnitude_tolerance(dtype, length, largest_finite(base))
    amplified = 0.0
    for draw in range(ROUNDING_DRAWS):
        with rounded(model, eps, seed + draw):
            change = largest_change(base, call(ids_BT)).size
        amplified = max(amplified, change if math.isfinite(change) else 0.0)
    return Tolerance(
        size + ROUNDING_SAFETY * amplified,
        f"{name_of(dtype)} arithmetic, length {length}, {ROUNDING_SAFETY:.0f} x the change of {amplified:.1e} by "
        f"weights rounded to eps {eps:.1e}",
        eps,
    )


def magnitude_tolerance(dtype: torch.dtype, length: int, largest: float) -> Tolerance:
    """eps * sqrt(T) * WITHOUT_WEIGHTS * (1 + max|logp|): for a function whose weights are not known. largest: nats."""
    eps, size = torch.finfo(dtype).eps, 1 + largest
    text = (
        f"{name_of(dtype)} arithmetic, eps {eps:.1e} x sqrt({length}) x {WITHOUT_WEIGHTS:.0f} roundings x "
        f"{size:.3g} nats"
    )
    return Tolerance(eps * math.sqrt(length) * size * WITHOUT_WEIGHTS, text, eps)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
