"""Arms of one seed share, bit for bit, the weights that they have in common: seed and name alone determine a draw."""

import math
from dataclasses import replace

import pytest
import torch

from pgolf.config.build import build_model
from pgolf.nn.primitives import initialise, seed_of
from tiny import ALL_VARIANTS, CPU, bytes_of_state, random_ids, tiny_config, tiny_model


def weights_of(*overrides: str, seed: int = 1) -> dict[str, bytes]:
    return bytes_of_state(tiny_model(replace(tiny_config(*overrides), seed=seed), seed=None))


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_an_arm_shares_all_that_it_has_in_common_with_the_baseline(variant):
    slot = variant.removeprefix("model/").partition("=")[0]
    base, arm = weights_of(), weights_of(variant)
    common = base.keys() & arm.keys()
    outside = {name for name in base | arm if not name.startswith(f"{slot}.")}
    if not any(name.endswith("resid_mix") for name in arm):  # a depth variant may have no residual mixing
        outside = {name for name in outside if not name.endswith("resid_mix")}
    assert outside <= common
    assert len(outside) > 10
    sizes_agree = {name for name in common if len(base[name]) == len(arm[name])}
    assert outside <= sizes_agree
    assert all(base[name] == arm[name] for name in sizes_agree)


def test_shared_cores_and_deeper_stacks_share_their_first_layers():
    base, shared, deeper = (
        weights_of(),
        weights_of("model.unique_blocks=1"),
        weights_of("model.layers=4", "model/depth=plain"),
    )
    assert shared.keys() < base.keys()
    assert all(base[name] == shared[name] for name in shared)
    assert all(base[name] == deeper[name] for name in base.keys() & deeper.keys())


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_one_seed_gives_one_state_and_two_seeds_two(variant):
    assert weights_of(variant) == weights_of(variant)
    first, second = weights_of(variant), weights_of(variant, seed=2)
    model = tiny_model(tiny_config(variant), seed=None)
    constant = {name for name, p in model.named_parameters() if p.numel() and bool((p == p.flatten()[0]).all())}
    constant |= {name for name in first if name.endswith("resid_mix")}
    assert {name for name in first if first[name] == second[name]} == constant


def test_layers_of_one_shape_are_drawn_apart():
    state = weights_of()
    assert (
        len({state[f"attention.{i}.k.weight"] for i in range(3)} | {state[f"attention.{i}.v.weight"] for i in range(3)})
        == 6
    )


def test_the_global_generator_neither_decides_nor_moves():
    states = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        model = build_model(tiny_config("model/head=mos").model)
        initialise(model, 7, CPU)
        assert torch.equal(torch.get_rng_state(), before)
        states.append(bytes_of_state(model))
    assert states[0] == states[1]


def test_seeds_of_names_do_not_collide_by_concatenation():
    assert seed_of(1, "1/a") != seed_of(11, "/a")
    assert len({seed_of(seed, name) for seed in range(30) for name in ("a", "b", "a.b", "")}) == 120
    assert all(0 <= seed_of(seed, "x") < 2**63 for seed in range(100))


@torch.no_grad()
def test_distributions_of_the_baseline():
    model = tiny_model(tiny_config("model.width=64", "model.vocab_size=500"), seed=None)
    table = model.embedding.table.weight
    assert abs(float(table.std()) / 0.005 - 1) < 0.03
    assert abs(float(table.mean())) < 1e-4
    for i in range(3):
        for linear in (model.q_proj[i].proj, model.attention[i].k, model.attention[i].v, model.mlp[i].fc):
            bound = 1 / math.sqrt(linear.in_features)
            assert bool((linear.weight.abs() <= bound).all())
            assert abs(float(linear.weight.std()) / (bound / math.sqrt(3)) - 1) < 0.05
        assert not bool(model.attention[i].out.weight.any())
        assert not bool(model.mlp[i].proj.weight.any())
        gains = model.gains[i]
        assert bool((gains.attn_scale == 1).all())
        assert bool((gains.mlp_scale == 1).all())
        assert bool((gains.resid_mix[0] == 1).all())
        assert not bool(gains.resid_mix[1].any())


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_the_first_loss_is_near_that_of_the_uniform_distribution(variant):
    model = tiny_model(tiny_config(variant), seed=None)
    with torch.no_grad():
        loss = model(random_ids(8, 16), random_ids(8, 16, seed=1)).mean()
    assert abs(float(loss) - math.log(23)) < 0.05


class NoReset(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(3))


def test_a_module_that_draws_nothing_is_named():
    with pytest.raises(AssertionError, match=r"0: NoReset owns tensors but has no reset_parameters"):
        initialise(torch.nn.Sequential(NoReset()), 1, CPU)
