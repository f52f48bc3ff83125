"""Low-rank queries with a rank per block and a norm between the factors, and the choice of ranks from spectra."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.config.binding import bind
from pgolf.config.build import build_model
from pgolf.errors import ConfigError, OptionError
from pgolf.nn.q_proj.adaptive import Adaptive
from pgolf.nn.q_proj.low_rank import LowRank
from pgolf.nn.rank_choice import budget_ranks, depth_profile, energy_ranks
from tiny import random_ids, redraw, tiny_config, tiny_dims, tiny_model

QUICK = settings(max_examples=60, deadline=None, database=None)
SPECTRA = st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.mark.parametrize("norm", [False, True])
def test_formula_of_each_block(norm):
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    for layer, rank in enumerate((2, 7, 32)):
        q_proj = Adaptive(tiny_dims(), layer, ranks=[2, 7, 32], norm=norm).double()
        redraw(q_proj, layer)
        low = torch.einsum("rd,btd->btr", q_proj.down.weight, x)
        if norm:
            low = q_proj.gain * low / (low.square().mean(-1, keepdim=True) + torch.finfo(torch.float64).eps).sqrt()
        expected = torch.einsum("hr,btr->bth", q_proj.up.weight, low)
        assert low.size(-1) == rank
        torch.testing.assert_close(q_proj(x), expected, rtol=1e-12, atol=1e-12)


def test_equal_ranks_are_low_rank_queries():
    x = torch.randn(2, 5, 32)
    adaptive, low_rank = (
        Adaptive(tiny_dims(), 1, ranks=[8, 8, 8], norm=False),
        LowRank(tiny_dims(), 1, rank=8, norm=False),
    )
    low_rank.load_state_dict(adaptive.state_dict())
    assert torch.equal(adaptive(x), low_rank(x))


def test_a_norm_whose_gain_is_one_is_cancelled_by_the_norm_of_the_heads():
    plain, normed = (tiny_model(tiny_config("model/q_proj=low_rank", f"model.q_proj.norm={n}")) for n in (False, True))
    ids = random_ids(2, 9)
    with torch.no_grad():
        for q_proj in normed.q_proj:
            q_proj.reset_parameters()
        torch.testing.assert_close(normed.double().hidden(ids), plain.double().hidden(ids), rtol=1e-6, atol=1e-6)
        normed.q_proj[0].gain[0] = 3.0
        assert not torch.allclose(normed.hidden(ids), plain.hidden(ids), atol=1e-3)


def test_the_default_is_narrow_early_and_wide_late():
    assert [q.down.weight.size(0) for q in tiny_model(tiny_config("model/q_proj=adaptive")).q_proj] == [8, 12, 16]
    shared = tiny_config("model/q_proj=adaptive", "model.unique_blocks=1")
    assert [q.down.weight.size(0) for q in tiny_model(shared).q_proj] == [8]
    assert depth_profile(16, 80, 5) == [16, 32, 48, 64, 80]


@pytest.mark.parametrize(
    ("ranks", "remedy"),
    [
        ("[8,8]", "give one rank per block, model.unique_blocks = 3 in all"),
        ("[8,8,33]", "from 1 to the model width, 32"),
    ],
)
def test_wrong_ranks_are_refused(ranks, remedy):
    config = tiny_config("model/q_proj=adaptive", f"model.q_proj.ranks={ranks}")
    with pytest.raises(ConfigError, match=rf"model\.q_proj\.ranks: cannot be used .*{remedy}"):
        build_model(config.model)


def test_a_rank_that_is_not_a_number_is_refused():
    node = {**tiny_config("model/q_proj=adaptive").model.q_proj, "ranks": [8, "x", 8]}
    assert bind("model.q_proj", node) == [
        "model.q_proj.ranks: needs a list in which each item is a whole number ([8, 'x', 8])"
    ]


def kept(spectra: list[list[float]], ranks: list[int]) -> float:
    return sum(s * s for spectrum, r in zip(spectra, ranks, strict=True) for s in sorted(spectrum)[::-1][:r])


@given(SPECTRA, st.floats(0.01, 1))
@QUICK
def test_energy_ranks_are_the_smallest_that_keep_the_energy(spectra, energy):
    for spectrum, rank in zip(spectra, energy_ranks(spectra, energy), strict=True):
        whole = kept([spectrum], [len(spectrum)])
        assert kept([spectrum], [rank]) >= energy * whole * (1 - 1e-12)
        assert rank == 1 or kept([spectrum], [rank - 1]) < energy * whole


@given(SPECTRA, st.integers(0, 12))
@QUICK
def test_budget_ranks_keep_most_of_all_choices_at_one_price(spectra, extra):
    ranks = budget_ranks(spectra, [10] * len(spectra), 10 * (len(spectra) + extra))
    choices = itertools.product(*(range(1, len(spectrum) + 1) for spectrum in spectra))
    best = max(kept(spectra, c) for c in choices if sum(c) <= len(spectra) + extra)
    assert sum(ranks) == min(len(spectra) + extra, sum(map(len, spectra)))
    assert kept(spectra, ranks) == pytest.approx(best, rel=1e-12)


def test_a_dear_matrix_needs_more_energy():
    assert budget_ranks([[3.0, 2.0, 0.1], [3.0, 2.1, 0.1]], [10, 10], 30) == [1, 2]
    assert budget_ranks([[3.0, 2.0, 0.1], [3.0, 2.1, 0.1]], [10, 20], 50) == [3, 1]


@pytest.mark.parametrize(
    ("choose", "key"),
    [
        (lambda: energy_ranks([[1.0]], 0), "energy"),
        (lambda: energy_ranks([[1.0], []], 0.9), "spectra"),
        (lambda: energy_ranks([[1.0, float("nan")]], 0.9), "spectra"),
        (lambda: budget_ranks([[1.0]], [10], 9), "parameters"),
        (lambda: budget_ranks([[1.0]], [10, 10], 99), "costs"),
    ],
)
def test_wrong_spectra_and_budgets_are_named(choose, key):
    with pytest.raises(OptionError, match=rf"{key}: cannot be .*; (choose|give)"):
        choose()
