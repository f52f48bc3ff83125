"""The score of a trained model whose query projections are cut to a lower rank, without training it again.

Two cuts keep the r largest directions of the queries' space: by the energy of the weight W, ||W||_F^2, and by that of
the queries it makes, E|W x|^2 = ||W C^(1/2)||_F^2 with C = E[x x^T] from training batches. By the theorem of Eckart and
Young each is the best matrix of rank r for its own energy.

Shapes: B batch, T time, D model width, H*K queries' space.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pgolf.errors import PgolfError
from pgolf.inspect.factored import check_finite
from pgolf.inspect.grouping import map_of, matrices
from pgolf.nn.gpt import GPT
from pgolf.nn.primitives import Linear

WEIGHT, ACTIVATION = "weight", "activation"
CUTS = (WEIGHT, ACTIVATION)


@dataclass(frozen=True)
class Cut:
    """A model whose queries have rank `rank` in every layer. by: WEIGHT or ACTIVATION.

    weight_energy, activation_energy: the kept share of each energy, mean over layers.
    """

    rank: int
    by: str
    bpb: float
    weight_energy: float
    activation_energy: float


@dataclass(frozen=True)
class Truncation:
    """bpb: of the uncut model. rank: the structural rank of its query projections. tokens: training tokens of C."""

    bpb: float
    rank: int
    tokens: int
    cuts: tuple[Cut, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def query_maps(model: GPT) -> list[Tensor]:
    """The matrix [H*K, D] of each query projection, in float64. Raises PgolfError if one is not a linear map.

    Also if it overflows.
    """
    maps = []
    for index, module in enumerate(model.q_proj):
        matrix = map_of(module, model.dims.width, next(module.parameters()), f"model.q_proj.{index}")
        if matrix is None:
            raise PgolfError(
                f"model.q_proj.{index}: is not a linear map ({type(module).__name__}), so it has no rank to cut. "
                "Inspect a run with model/q_proj=full, low_rank or adaptive, without a norm between its factors"
            )
        maps.append(matrix.double())
    return maps


@torch.no_grad()
def input_moments(model: GPT, batches: Iterable[Tensor]) -> list[Tensor]:
    """E[x x^T] [D, D] of the inputs x of each query projection, over batches of ids [B, T], in float64.

    Raises PgolfError for inputs that are not finite.
    """
    sums = [torch.zeros(model.dims.width, model.dims.width, dtype=torch.float64) for _ in model.q_proj]
    counts = [0] * len(sums)

    def adding(index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x_ND = inputs[0].flatten(0, -2).double()
            sums[index] += (x_ND.T @ x_ND).cpu()
            counts[index] += len(x_ND)

        return add

    hooks = [module.register_forward_pre_hook(adding(index)) for index, module in enumerate(model.q_proj)]
    try:
        for ids_BT in batches:
            model.hidden(ids_BT)
    finally:
        for hook in hooks:
            hook.remove()
    for index, total in enumerate(sums):
        check_finite([total], f"model.q_proj.{index}", "its inputs")
    return [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]


def root(moments: Tensor) -> Tensor:
    """The symmetric root C^(1/2) [D, D] of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(moments)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def directions(matrix: Tensor) -> Tensor:
    """Left singular vectors [rows, k] of a matrix, largest first."""
    return torch.linalg.svd(matrix, full_matrices=False).U


def kept(matrix: Tensor, basis: Tensor) -> float:
    """The share of ||matrix||_F^2 within the span of orthonormal columns; 1 for a zero matrix."""
    whole = float(matrix.square().sum())
    return float((basis.T @ matrix).square().sum()) / whole if whole > 0 else 1.0


@contextmanager
def replaced_queries(model: GPT, maps: Sequence[Tensor]) -> Iterator[None]:
    """A context in which a model's query projections are plain matrices [H*K, D]."""
    own = model.q_proj
    like = next(own.parameters())
    replaced = nn.ModuleList()
    for matrix in maps:
        layer = Linear(matrix.size(1), matrix.size(0))
        layer.weight = nn.Parameter(matrix.to(like), requires_grad=False)
        replaced.append(layer)
    model.q_proj = replaced
    try:
        yield
    finally:
        model.q_proj = own


def truncation(
    model: GPT, ranks: Sequence[int], bpb_of: Callable[[GPT], float], batches: Sequence[Tensor]
) -> Truncation:
    """The scores at each rank, cut in both ways. batches: training ids [B, T]. Raises PgolfError."""
    maps, bpb = query_maps(model), bpb_of(model)
    weighted = [q.cpu() @ root(c) for q, c in zip(maps, input_moments(model, batches), strict=True)]
    maps = [q.cpu() for q in maps]
    bases = {WEIGHT: [directions(q) for q in maps], ACTIVATION: [directions(q) for q in weighted]}
    cuts = []
    for rank in ranks:
        for by in CUTS:
            spans = [basis[:, :rank] for basis in bases[by]]
            with replaced_queries(model, [u @ (u.T @ q) for u, q in zip(spans, maps, strict=True)]):
                score = bpb_of(model)
            energies = [np.mean([kept(q, u) for q, u in zip(each, spans, strict=True)]) for each in (maps, weighted)]
            cuts.append(Cut(rank, by, score, float(energies[0]), float(energies[1])))
    return Truncation(bpb, structural_rank(model), sum(ids.numel() for ids in batches), tuple(cuts))


def cut_queries(model: GPT, ranks: Sequence[int], by: str, batches: Sequence[Tensor]) -> list[Tensor]:
    """The matrix of each query projection, each cut to its own rank. by: WEIGHT or ACTIVATION, which needs batches."""
    maps = [q.cpu() for q in query_maps(model)]
    roots = [root(c) for c in input_moments(model, batches)] if by == ACTIVATION else [None] * len(maps)
    cut = []
    for q, weighting, rank in zip(maps, roots, ranks, strict=True):
        u = directions(q if weighting is None else q @ weighting)[:, :rank]
        cut.append(u @ (u.T @ q))
    return cut


def structural_rank(model: GPT) -> int:
    """The largest rank that the sizes of a query projection, and of its factors, allow."""
    return max(matrix.factors.rank for matrix in matrices(model) if matrix.group == "Q")
