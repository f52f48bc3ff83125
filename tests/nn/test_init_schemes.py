"""The orthogonal scheme by its definition: semi-orthogonal maps, branches shrunk with depth, small and zeroed ones left
alone.
"""

import math

import pytest
import torch

from pgolf.config.build import build_model, start_weights
from tiny import CPU, bytes_of_state, published_config, stack_config


def started(config: dict, seed: int = 1):
    model = build_model(config.model)
    start_weights(model, config.model, seed, CPU)
    return model


def gain_of(weight: torch.Tensor) -> float:
    """The only singular value of a scaled semi-orthogonal matrix. Fails for any other matrix."""
    w = weight.detach().double()
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    gain = gram.diagonal().mean().sqrt()
    torch.testing.assert_close(gram, gain**2 * torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-5)
    return float(gain)


HEADS = {
    "factorized": ("model/head=factorized", "model.head.rank=64"),
    "mixture_of_logits": ("model/head=mixture_of_logits", "model.head.rank=64", "model.head.experts=2"),
}


@pytest.fixture(scope="module")
def published():
    """One core at the published width, in eleven passes."""
    return started(
        published_config("pr908", "model.unique_blocks=1", *HEADS["mixture_of_logits"], "model.head.zero_up=false")
    )


def test_published_maps_are_semi_orthogonal(published):
    sides = published.side_inputs
    q, attention, mlp = published.q_proj[0], published.attention[0], published.mlp[0]
    for linear in (q.proj, attention.k, attention.v, mlp.fc, sides.bigram_residual.projection):
        assert gain_of(linear.weight) == pytest.approx(1.0, abs=1e-5)
    for linear in (attention.out, mlp.proj, sides.value_embedding.projection):
        assert gain_of(linear.weight) == pytest.approx(1 / math.sqrt(22), abs=1e-5)
    experts = published.head.mixture
    assert all(gain_of(one.weight) == pytest.approx(1.0, abs=1e-5) for one in (*experts.down, *experts.up))


@torch.no_grad()
def test_published_standard_deviations(published):
    experts, sides = published.head.mixture, published.side_inputs
    deviations = [float(one.weight.std()) for one in (sides.value_embedding.projection, experts.down[0], experts.up[0])]
    assert deviations == pytest.approx([0.0133, 0.0442, 0.03125], abs=1e-4)
    assert float(sides.value_embedding.table.weight.std()) == pytest.approx(0.01, rel=0.02)
    assert float(published.embedding.table.weight.std()) == pytest.approx(0.005, rel=0.02)


@torch.no_grad()
def test_a_gate_below_the_smallest_side_stays_uniform(published):
    gate = published.head.mixture.gate.weight
    assert gate.shape == (2, 512)
    assert gate.abs().max() <= 512**-0.5
    assert float(gate.std()) == pytest.approx(512**-0.5 / math.sqrt(3), rel=0.05)


def test_scalars_and_tables_start_as_in_the_default_scheme(published):
    sides = published.side_inputs
    assert not bool(sides.bigram_residual.table.weight.any())
    assert bool((sides.bigram_residual.lambdas == 0.05).all())
    assert not bool(published.smear.p.any())
    assert bool((published.depth.skip_weights == 1).all())


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_branches_shrink_with_depth(layers):
    model = started(stack_config("pr908", f"model.layers={layers}", "model/side_inputs=[]", "model.xsa_last_n=1"))
    gains = {gain_of(linear.weight) for i in range(layers) for linear in (model.attention[i].out, model.mlp[i].proj)}
    assert all(gain == pytest.approx(1 / math.sqrt(2 * layers), abs=1e-5) for gain in gains)


@pytest.mark.parametrize(("head", "part"), [("untied", "up"), ("factorized", "up"), ("simplex", "from_simplex")])
@pytest.mark.parametrize("zero_up", [True, False])
def test_a_head_that_starts_at_zero_on_purpose_does(head, part, zero_up):
    model = started(stack_config("pr908", f"model/head={head}", f"model.head.zero_up={zero_up}"))
    weight = getattr(model.head, part).weight
    if zero_up:
        assert not bool(weight.any())
    else:
        assert gain_of(weight) == pytest.approx(1.0, abs=1e-5)


def test_min_dim_decides_by_the_smaller_side():
    """Width 32, values and MLP inner sides 16 and 96."""
    reached = started(stack_config("pr908", "model.orthogonal_min_dim=16"))
    assert gain_of(reached.attention[0].k.weight) == pytest.approx(1.0, abs=1e-5)
    short = started(stack_config("pr908", "model.orthogonal_min_dim=17"))
    assert gain_of(short.q_proj[0].proj.weight) == pytest.approx(1.0, abs=1e-5)
    assert short.attention[0].k.weight.shape == (16, 32)
    assert short.attention[0].k.weight.abs().max() <= 32**-0.5
    none = started(stack_config("pr908", "model.orthogonal_min_dim=33"))
    assert not bool(none.attention[0].out.weight.any())


def test_the_default_scheme_is_what_each_class_says():
    orthogonal, default = started(stack_config("pr908")), started(stack_config("pr908", "model.init=default"))
    for i in range(5):
        assert not bool(default.attention[i].out.weight.any())
        assert not bool(default.mlp[i].proj.weight.any())
        assert bool(orthogonal.attention[i].out.weight.any())
        assert default.q_proj[i].proj.weight.abs().max() <= 32**-0.5
    one, other = bytes_of_state(orthogonal), bytes_of_state(default)
    untouched = {name for name in one if one[name] == other[name]}
    linears = {f"{name}.weight" for name, module in orthogonal.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(one) - linears <= untouched


def test_the_seed_and_the_name_decide_the_draw():
    config = stack_config("pr908")
    first = bytes_of_state(started(config))
    assert first == bytes_of_state(started(config))
    assert first != bytes_of_state(started(config, seed=2))
    assert (
        len({first[f"attention.{i}.k.weight"] for i in range(5)} | {first[f"attention.{i}.v.weight"] for i in range(5)})
        == 10
    )


@pytest.mark.parametrize("head", ["untied", "factorized", "mos", "mixture_of_logits", "simplex"])
def test_a_frozen_head_does_not_stay_at_zero(head):
    trained, frozen = (
        stack_config("pr908", f"model/head={head}", f"defects={defects}") for defects in ("none", "pr908")
    )
    assert trained.model.head["zero_up"] is True
    assert frozen.model.head["zero_up"] is False
    assert all(float(p.detach().abs().max()) > 0 for p in started(frozen).head.parameters())
