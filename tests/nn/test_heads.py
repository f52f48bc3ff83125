"""Heads and the factorised embedding against their formulas in float64, and their limit cases."""

import math

import pytest
import torch

from pgolf.errors import OptionError
from pgolf.nn.embedding.albert import Albert
from pgolf.nn.embedding.full import Full
from pgolf.nn.head.factorized import Factorized
from pgolf.nn.head.mixture_of_logits import MixtureOfLogits
from pgolf.nn.head.mos import MixtureOfSoftmaxes
from pgolf.nn.head.simplex import Simplex
from pgolf.nn.head.tied import Tied
from pgolf.nn.head.untied import Untied
from tiny import random_ids, redraw, tiny_config, tiny_dims, tiny_model

DIMS = tiny_dims()
TABLE = Full(DIMS, init_std=0.005)
X = torch.randn(3, 6, 32, generator=torch.Generator().manual_seed(0))
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def weights(head: torch.nn.Module) -> dict[str, torch.Tensor]:
    redraw(head, 1)
    return {name: p.detach().double() for name, p in head.named_parameters()}


def softmax(z: torch.Tensor) -> torch.Tensor:
    e = (z - z.max(-1, keepdim=True).values).exp()
    return e / e.sum(-1, keepdim=True)


def capped(z: torch.Tensor) -> torch.Tensor:
    return DIMS.logit_softcap * torch.tanh(z / DIMS.logit_softcap)


def experts_of(w: dict[str, torch.Tensor], experts: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Gates [B, T, E] and one tensor of scores [B, T, V] per expert."""
    gates = softmax(X.double() @ w["mixture.gate.weight"].T)
    return gates, [X.double() @ (w[f"mixture.up.{e}.weight"] @ w[f"mixture.down.{e}.weight"]).T for e in range(experts)]


@pytest.mark.parametrize("experts", [1, 2, 5])
def test_mixture_of_softmaxes_mixes_probabilities(experts):
    head = MixtureOfSoftmaxes(DIMS, TABLE, rank=4, experts=experts, zero_up=False)
    gates, scores = experts_of(weights(head), experts)
    p = sum(gates[..., e, None] * softmax(capped(scores[e])) for e in range(experts))
    torch.testing.assert_close(head.logp(X).double(), p.log(), **CLOSE)
    y = random_ids(3, 6)
    torch.testing.assert_close(head.nll(X, y).double(), -p.log().gather(-1, y[..., None])[..., 0], **CLOSE)


@pytest.mark.parametrize("experts", [1, 2, 5])
def test_mixture_of_logits_mixes_scores(experts):
    head = MixtureOfLogits(DIMS, TABLE, rank=4, experts=experts, zero_up=False)
    gates, scores = experts_of(weights(head), experts)
    z = sum(gates[..., e, None] * scores[e] for e in range(experts))
    torch.testing.assert_close(head.logp(X).double(), softmax(capped(z)).log(), **CLOSE)


def test_the_two_mixtures_have_the_same_weights_and_differ():
    softmaxes = MixtureOfSoftmaxes(DIMS, TABLE, rank=4, experts=3, zero_up=False)
    logits = MixtureOfLogits(DIMS, TABLE, rank=4, experts=3, zero_up=False)
    redraw(softmaxes, 1)
    logits.load_state_dict(softmaxes.state_dict())
    assert (softmaxes.logp(X) - logits.logp(X)).abs().max() > 0.1


@pytest.mark.parametrize("mixture", [MixtureOfSoftmaxes, MixtureOfLogits])
def test_one_expert_is_one_softmax(mixture):
    head, plain = mixture(DIMS, TABLE, rank=4, experts=1, zero_up=False), Factorized(DIMS, TABLE, rank=4, zero_up=False)
    redraw(plain, 1)
    with torch.no_grad():
        head.mixture.down[0].weight.copy_(plain.down.weight)
        head.mixture.up[0].weight.copy_(plain.up.weight)
    torch.testing.assert_close(head.logp(X), plain.logp(X), rtol=1e-5, atol=1e-5)
    y = random_ids(3, 6)
    torch.testing.assert_close(head.nll(X, y), plain.nll(X, y), rtol=1e-5, atol=1e-5)


def centred_rank(logp: torch.Tensor) -> int:
    """Rank of the log-probabilities of many contexts, without the constant per context that a softmax adds."""
    flat = logp.detach().double().flatten(0, -2)
    return int(torch.linalg.matrix_rank(flat - flat.mean(-1, keepdim=True), rtol=1e-4))


def test_only_probability_mixing_lifts_the_rank_bound():
    """Uncapped, the log-probabilities of one softmax of rank 2 have rank 2, of a gated sum of two at most 4, of a true
    mixture more.
    """
    dims = tiny_dims(logit_softcap=1e4)
    x = torch.randn(200, 32, generator=torch.Generator().manual_seed(3))[None]
    ranks = {}
    for head in (
        Factorized(dims, TABLE, rank=2, zero_up=False),
        MixtureOfLogits(dims, TABLE, rank=2, experts=2, zero_up=False),
        MixtureOfSoftmaxes(dims, TABLE, rank=2, experts=2, zero_up=False),
    ):
        redraw(head, 1)
        ranks[type(head).__name__] = centred_rank(head.logp(x))
    assert ranks["Factorized"] == 2
    assert ranks["MixtureOfLogits"] <= 4
    assert ranks["MixtureOfSoftmaxes"] > 8


def test_tied_untied_and_factorized():
    table = Full(DIMS, init_std=0.005)
    w = weights(table)["table.weight"]
    torch.testing.assert_close(Tied(DIMS, table).logp(X).double(), softmax(capped(X.double() @ w.T)).log(), **CLOSE)
    untied = Untied(DIMS, TABLE, zero_up=False)
    w = weights(untied)["up.weight"]
    torch.testing.assert_close(untied.logp(X).double(), softmax(capped(X.double() @ w.T)).log(), **CLOSE)
    factorized = Factorized(DIMS, TABLE, rank=3, zero_up=False)
    both = weights(factorized)
    w = both["up.weight"] @ both["down.weight"]
    torch.testing.assert_close(factorized.logp(X).double(), softmax(capped(X.double() @ w.T)).log(), **CLOSE)


def test_tied_has_no_weights_of_its_own_and_follows_the_table():
    table = Full(DIMS, init_std=0.005)
    redraw(table, 2)
    head = Tied(DIMS, table)
    assert list(head.parameters()) == []
    before = head.logp(X)
    with torch.no_grad():
        table.table.weight.mul_(2.0)
    assert not torch.allclose(head.logp(X), before)


def test_simplex_logits_are_convex_mixes_of_its_corners():
    head = Simplex(DIMS, TABLE, rank=7, zero_up=False)
    w = weights(head)
    corners = softmax(X.double() @ w["to_simplex.weight"].T)
    torch.testing.assert_close(
        head.logp(X).double(), softmax(capped(corners @ w["from_simplex.weight"].T)).log(), **CLOSE
    )
    for size in (1.0, 1e4):
        z = head.scores(X * size)
        low, high = head.from_simplex.weight.min(1).values, head.from_simplex.weight.max(1).values
        assert bool((z >= low - 1e-6).all())
        assert bool((z <= high + 1e-6).all())


@pytest.mark.parametrize(
    "head",
    [
        Untied(DIMS, TABLE, zero_up=True),
        Factorized(DIMS, TABLE, rank=4, zero_up=True),
        MixtureOfLogits(DIMS, TABLE, rank=4, experts=3, zero_up=True),
        MixtureOfSoftmaxes(DIMS, TABLE, rank=4, experts=3, zero_up=True),
        Simplex(DIMS, TABLE, rank=4, zero_up=True),
    ],
    ids=lambda head: type(head).__name__,
)
def test_zero_up_starts_at_the_uniform_distribution(head):
    torch.testing.assert_close(head.logp(X), torch.full((3, 6, 23), -math.log(23)), rtol=1e-6, atol=1e-6)


def test_experts_start_apart():
    for zero_up in (True, False):
        head = MixtureOfSoftmaxes(DIMS, TABLE, rank=4, experts=3, zero_up=zero_up)
        assert not torch.equal(head.mixture.down[0].weight, head.mixture.down[1].weight)


def albert(rank, *, orthogonal=False):
    return Albert(DIMS, rank=rank, init_std=0.005, orthogonal=orthogonal)


def test_an_orthogonal_projection_keeps_lengths():
    weight = albert(5, orthogonal=True).projection.weight.double()
    torch.testing.assert_close(weight.T @ weight, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 5, 32])
def test_albert_goes_back_through_both_factors(rank):
    embedding = albert(rank).double()
    redraw(embedding, 1)
    table, projection = embedding.table.weight, embedding.projection.weight
    x, ids = X.double(), random_ids(2, 5)
    torch.testing.assert_close(embedding(ids), table[ids] @ projection.T)
    torch.testing.assert_close(embedding.unembed(x), x @ projection @ table.T)
    assert torch.linalg.matrix_rank(embedding.unembed(torch.eye(32, dtype=torch.float64)[None])[0]) == min(rank, 23)


def test_tied_albert_factors_learn_from_input_and_output():
    """With a tied head, the gradient of the factors is the sum of their gradients as input table and output matrix."""
    model = tiny_model(tiny_config("model/embedding=albert"))
    ids, y = random_ids(2, 8), random_ids(2, 8, seed=1)
    factors = list(model.embedding.parameters())
    both = torch.autograd.grad(model(ids, y).mean(), factors)
    hidden = model.hidden(ids)
    end = hidden.detach().requires_grad_()
    *as_output, back = torch.autograd.grad(model.head.nll(end, y).mean(), [*factors, end])
    as_input = torch.autograd.grad(hidden, factors, back)
    for whole, first, second in zip(both, as_input, as_output, strict=True):
        assert bool(first.any())
        assert bool(second.any())
        torch.testing.assert_close(whole, first + second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Factorized(DIMS, TABLE, rank=0, zero_up=True), "rank"),
        (lambda: Factorized(DIMS, TABLE, rank=33, zero_up=True), "rank"),
        (lambda: MixtureOfSoftmaxes(DIMS, TABLE, rank=0, experts=2, zero_up=True), "rank"),
        (lambda: MixtureOfSoftmaxes(DIMS, TABLE, rank=4, experts=0, zero_up=True), "experts"),
        (lambda: MixtureOfLogits(DIMS, TABLE, rank=33, experts=2, zero_up=True), "rank"),
        (lambda: Simplex(DIMS, TABLE, rank=1, zero_up=True), "rank"),
        (lambda: Simplex(DIMS, TABLE, rank=24, zero_up=True), "rank"),
        (lambda: albert(0), "rank"),
        (lambda: albert(33), "rank"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_key(make, key):
    with pytest.raises(OptionError) as refused:
        make()
    assert refused.value.key == key
