"""Queries cut to a lower rank: each cut is the best one for its energy, and the whole rank changes nothing."""

import pytest
import torch

from pgolf.errors import PgolfError
from pgolf.inspect.truncate import (
    ACTIVATION,
    WEIGHT,
    Cut,
    cut_queries,
    directions,
    input_moments,
    kept,
    query_maps,
    replaced_queries,
    root,
    structural_rank,
    truncation,
)
from pgolf.nn.gpt import GPT
from pgolf.nn.primitives import rms_norm
from tiny import random_ids, tiny_config, tiny_model

IDS = random_ids(4, 16)


@torch.no_grad()
def loss(model: GPT) -> float:
    return float(model(IDS[:, :-1], IDS[:, 1:]).mean())


def cut(cuts: tuple[Cut, ...], rank: int, by: str) -> Cut:
    (found,) = (each for each in cuts if (each.rank, each.by) == (rank, by))
    return found


def test_the_whole_rank_changes_nothing_and_each_cut_is_best_for_its_own_energy() -> None:
    model = tiny_model(tiny_config())
    own = model.q_proj
    found = truncation(model, [4, 16, 32], loss, [IDS])
    assert model.q_proj is own
    assert found.bpb == loss(model)
    assert found.rank == 32
    for by in (WEIGHT, ACTIVATION):
        whole = cut(found.cuts, 32, by)
        assert whole.bpb == pytest.approx(found.bpb, rel=1e-5)
        assert (whole.weight_energy, whole.activation_energy) == pytest.approx((1, 1))
        assert cut(found.cuts, 4, by).bpb != found.bpb
    for rank in (4, 16):
        by_weight, by_activation = cut(found.cuts, rank, WEIGHT), cut(found.cuts, rank, ACTIVATION)
        assert by_weight.weight_energy > by_activation.weight_energy
        assert by_activation.activation_energy > by_weight.activation_energy


def test_the_kept_energies_are_sums_of_eigenvalues() -> None:
    """Of W W^T and of W C W^T, from the largest on, as a share of the trace, mean over layers."""
    model = tiny_model(tiny_config())
    (found,) = (each for each in truncation(model, [5], loss, [IDS]).cuts if each.by == ACTIVATION)
    energies = []
    for w, c in zip(query_maps(model), input_moments(model, [IDS]), strict=True):
        values = torch.linalg.eigvalsh(w @ c @ w.T).flip(0)
        energies.append(float(values[:5].sum() / values.sum()))
    assert found.activation_energy == pytest.approx(sum(energies) / 3)
    (found,) = (each for each in truncation(model, [5], loss, [IDS]).cuts if each.by == WEIGHT)
    shares = [s[:5].sum() / s.sum() for s in (torch.linalg.svdvals(w) ** 2 for w in query_maps(model))]
    assert found.weight_energy == pytest.approx(float(sum(shares)) / 3)


def test_moments_are_of_the_normed_inputs_of_the_projection() -> None:
    model = tiny_model(tiny_config())
    x0 = rms_norm(model.embedding(IDS))
    a, b = model.gains[0].resid_mix
    x = rms_norm(a * x0 + b * x0).flatten(0, 1).double()
    found = input_moments(model, [IDS, IDS])
    torch.testing.assert_close(found[0], (x.T @ x / len(x)).detach())
    assert not any(module._forward_pre_hooks for module in model.q_proj)
    torch.testing.assert_close(root(found[0]) @ root(found[0]), found[0])


def test_the_cut_by_activation_is_the_best_one_by_brute_force() -> None:
    """No other projection of rank one keeps more of E|W x|^2; with C = 1 both cuts are one."""
    generator = torch.Generator().manual_seed(0)
    w, x = (torch.randn(6, n, generator=generator, dtype=torch.float64) for n in (5, 5))
    c = x.T @ torch.diag(torch.tensor([9.0, 4.0, 1.0, 1.0, 0.1, 0.1], dtype=torch.float64)) @ x
    best = directions(w @ root(c))[:, :1]
    others = torch.nn.functional.normalize(torch.randn(500, 6, 1, generator=generator, dtype=torch.float64), dim=1)
    energy = kept(w @ root(c), best)
    assert energy == pytest.approx(float((best.T @ w @ c @ w.T @ best) / (w @ c @ w.T).trace()))
    assert all(kept(w @ root(c), u) < energy for u in others)
    plain = directions(w @ root(torch.eye(5, dtype=torch.float64)))[:, :2]
    torch.testing.assert_close(plain @ plain.T, directions(w)[:, :2] @ directions(w)[:, :2].T)


def test_a_factored_projection_is_cut_as_its_product() -> None:
    model = tiny_model(tiny_config("model/q_proj=low_rank", "model.layers=4", "model.unique_blocks=2"))
    assert structural_rank(model) == 12
    maps = query_maps(model)
    assert len(maps) == 2
    before = loss(model)
    with replaced_queries(model, maps):
        assert loss(model) == pytest.approx(before, rel=1e-5)
    found = truncation(model, [12], loss, [IDS])
    assert cut(found.cuts, 12, WEIGHT).bpb == pytest.approx(before, rel=1e-5)


def test_a_projection_that_is_not_linear_has_no_rank_to_cut() -> None:
    model = tiny_model(tiny_config())
    model.q_proj[1] = torch.nn.Sequential(model.q_proj[1].proj, torch.nn.ReLU())
    with pytest.raises(PgolfError, match=r"model\.q_proj\.1: is not a linear map \(Sequential\)"):
        truncation(model, [4], loss, [IDS])


def test_each_block_is_cut_to_its_own_rank() -> None:
    """To its whole rank it stays as it is; to rank one only its largest direction is left."""
    model = tiny_model(tiny_config())
    whole = query_maps(model)
    for by in (WEIGHT, ACTIVATION):
        first, second, third = cut_queries(model, [32, 1, 4], by, [IDS])
        torch.testing.assert_close(first, whole[0])
        assert [int(torch.linalg.matrix_rank(q, rtol=1e-6)) for q in (second, third)] == [1, 4]
    u, s, vh = torch.linalg.svd(whole[1])
    torch.testing.assert_close(cut_queries(model, [32, 1, 4], WEIGHT, [])[1], s[0] * torch.outer(u[:, 0], vh[0]))
