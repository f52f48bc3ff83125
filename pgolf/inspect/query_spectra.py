"""Singular values of the query projections of a trained model, of the weights and of the queries that they make."""

from collections.abc import Sequence

from torch import Tensor

from pgolf.errors import PgolfError
from pgolf.inspect.factored import Factors
from pgolf.inspect.grouping import matrices
from pgolf.inspect.ranks import QuerySpectra
from pgolf.inspect.truncate import input_moments, query_maps, root
from pgolf.nn.gpt import GPT


def query_factors(model: GPT) -> list[Factors]:
    """The matrix of each query projection, one per unique block. Raises PgolfError for one that is not a matrix."""
    query_maps(model)
    found = [matrix.factors for matrix in matrices(model) if matrix.group == "Q"]
    if len(found) != len(model.q_proj):
        raise PgolfError(
            f"model.q_proj: has {len(found)} matrices in {len(model.q_proj)} blocks, and one per block has a rank. "
            "Inspect a run with model/q_proj=full, low_rank or adaptive"
        )
    return found


def query_spectra(model: GPT, weights: str, batches: Sequence[Tensor]) -> QuerySpectra:
    """The spectra of a model. weights: their name. batches: training ids [B, T]; none: no activations.

    Raises PgolfError, also for a projection that is zero, or whose queries are.
    """
    factors = query_factors(model)
    moments = input_moments(model, batches) if batches else []
    weighted = [Factors(with_inputs(own, c)) for own, c in zip(factors, moments, strict=True)] if moments else []
    by_weight, by_activation = (tuple(tuple(map(float, own.values())) for own in each) for each in (factors, weighted))
    for what, spectra in (("is zero", by_weight), ("makes queries of zero", by_activation)):
        for index, spectrum in enumerate(spectra):
            if not max(spectrum) > 0:
                raise PgolfError(f"model.q_proj.{index}: {what}, so it has no energy to keep. Inspect another run")
    tokens = sum(ids.numel() for ids in batches)
    return QuerySpectra(model.dims.width, weights, tokens, by_weight, by_activation)


def with_inputs(factors: Factors, moments: Tensor) -> tuple[Tensor, ...]:
    """The weights of W C^(1/2): the last factor of W times the root of C = E[x x^T] [D, D]."""
    *others, last = (weight.detach().double().cpu() for weight in factors.weights)
    return (*others, last @ root(moments.to(last)))
