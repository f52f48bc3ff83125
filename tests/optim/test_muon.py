"""Muon against its formula in float64, and against torch's own in direction."""

import pytest
import torch

from pgolf.errors import OptionError
from pgolf.machine.ranks import Ranks
from pgolf.optim.muon import Muon, newton_schulz

PUBLISHED = {
    "lr": 0.04,
    "momentum": 0.95,
    "momentum_start": 0.85,
    "momentum_warmup_steps": 4,
    "nesterov": True,
    "newton_schulz_steps": 5,
    "weight_decay": 0.0,
    "decay_order": "before",
    "bf16_factor": False,
}
SHAPES = [(8, 8), (20, 6), (6, 20), (8, 8), (8, 8), (1, 12), (12, 1), (6, 20)]


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonalised(u: torch.Tensor) -> torch.Tensor:
    """Five published Newton-Schulz steps on one float64 matrix, through its singular values: odd polynomials act on
    them alone.
    """
    left, s, right = torch.linalg.svd(u, full_matrices=False)
    s = s / (s.square().sum().sqrt() + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return left @ torch.diag(s) @ right


def by_the_formula(start: list[torch.Tensor], grads: list[list[torch.Tensor]], s: dict) -> list[torch.Tensor]:
    weights, buffers = [w.clone() for w in start], [torch.zeros_like(w) for w in start]
    for step, of_step in enumerate(grads):
        share = min(step / s["momentum_warmup_steps"], 1.0) if s["momentum_warmup_steps"] else 1.0
        mu = (1 - share) * s["momentum_start"] + share * s["momentum"]
        for i, g in enumerate(of_step):
            buffers[i] = mu * buffers[i] + g
            update = orthogonalised(g + mu * buffers[i] if s["nesterov"] else buffers[i])
            update = update * max(1.0, g.shape[0] / g.shape[1]) ** 0.5
            if s["decay_order"] == "before":
                weights[i] = weights[i] * (1 - s["lr"] * s["weight_decay"])
            weights[i] = weights[i] - s["lr"] * update
            if s["decay_order"] == "after":
                weights[i] = weights[i] * (1 - s["lr"] * s["weight_decay"])
    return weights


def stepped(start: list[torch.Tensor], grads: list[list[torch.Tensor]], settings: dict) -> list[torch.Tensor]:
    weights = [torch.nn.Parameter(w.clone()) for w in start]
    muon = Muon(weights, Ranks(), **settings)
    for of_step in grads:
        for w, g in zip(weights, of_step, strict=True):
            w.grad = g.to(w.dtype).clone()
        muon.step()
    return [w.detach() for w in weights]


def problem(steps: int) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    start = [normal(*shape, seed=i) for i, shape in enumerate(SHAPES)]
    return start, [
        [normal(*shape, seed=100 * step + i + 50) for i, shape in enumerate(SHAPES)] for step in range(steps)
    ]


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("decay", "order"), [(0.0, "before"), (0.5, "before"), (0.5, "after")])
@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_several_steps_are_the_formula(nesterov, decay, order, warmup):
    settings = {
        **PUBLISHED,
        "nesterov": nesterov,
        "weight_decay": decay,
        "decay_order": order,
        "momentum_warmup_steps": warmup,
    }
    start, grads = problem(6)
    for actual, expected in zip(stepped(start, grads, settings), by_the_formula(start, grads, settings), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-8)


def test_each_setting_matters():
    start, grads = problem(6)
    base = {**PUBLISHED, "weight_decay": 0.5}
    expected = stepped(start, grads, base)[0]
    for change in (
        {"lr": 0.05},
        {"momentum": 0.9},
        {"momentum_start": 0.5},
        {"momentum_warmup_steps": 6},
        {"nesterov": False},
    ):
        assert not torch.allclose(stepped(start, grads, {**base, **change})[0], expected), change
    for change in ({"newton_schulz_steps": 4}, {"weight_decay": 0.4}, {"decay_order": "after"}):
        assert not torch.allclose(stepped(start, grads, {**base, **change})[0], expected), change


def test_with_the_defect_directions_are_rounded_before_and_after_their_factor():
    """As the baseline's trainer goes on from the Newton-Schulz result, which is fp32 here."""
    ((start,), ((grad,),)) = [normal(20, 6, seed=1).float()], [[normal(20, 6, seed=2).float()]]
    settings = {**PUBLISHED, "nesterov": False}
    (exact,), (actual,) = (stepped([start], [[grad]], {**settings, "bf16_factor": on}) for on in (False, True))
    g = newton_schulz(grad, 5).bfloat16()
    g *= max(1, g.size(0) / g.size(1)) ** 0.5
    assert torch.equal(actual, start.clone().add_(g.float(), alpha=-0.04))
    step = (exact - start).abs()
    assert 1e-4 < ((actual - exact).abs() / step).max() < 2**-7  # two roundings of 8 bits each


def test_fp32_weights_follow_the_float64_formula():
    start, grads = problem(4)
    actual = stepped([w.float() for w in start], grads, PUBLISHED)
    for one, expected in zip(actual, by_the_formula(start, grads, PUBLISHED), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (40, 10), (10, 40)], ids=str)
@pytest.mark.parametrize("nesterov", [True, False])
def test_direction_agrees_with_torch_at_constant_momentum(shape, nesterov):
    ours, theirs = (torch.nn.Parameter(normal(*shape, seed=1).float()) for _ in range(2))
    muon = Muon(
        [ours], Ranks(), **{**PUBLISHED, "momentum_start": 0.95, "momentum_warmup_steps": 0, "nesterov": nesterov}
    )
    reference = torch.optim.Muon(
        [theirs],
        lr=0.04,
        momentum=0.95,
        nesterov=nesterov,
        weight_decay=0.0,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        ns_steps=5,
    )
    for step in range(4):
        before = ours.detach().clone(), theirs.detach().clone()
        ours.grad = normal(*shape, seed=10 + step).float()
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
        mine, other = ours.detach() - before[0], theirs.detach() - before[1]
        assert torch.nn.functional.cosine_similarity(mine.flatten(), other.flatten(), dim=0) > 0.99
        assert 0.95 < mine.norm() / other.norm() < 1.05


@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (16, 64), (128, 128)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_singular_values_end_near_one(shape, seed):
    u = normal(*shape, seed=seed)
    values = torch.linalg.svdvals(newton_schulz(u[None], 5)[0])
    start = torch.linalg.svdvals(u) / u.norm()
    assert values.max() < 1.3
    assert values[start > 0.01].min() > 0.6
    assert start.max() < 0.6  # the singular values were not near one before


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 3, 7), (1, 4, 4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_batched_equals_single(shape, dtype):
    stack = normal(*shape, seed=0).to(dtype)
    stack[0] *= 1e3  # each matrix has a norm of its own
    together = newton_schulz(stack, 5)
    assert together.dtype == dtype
    assert together.shape == stack.shape
    for one, alone in zip(together, stack, strict=True):
        torch.testing.assert_close(one, newton_schulz(alone[None], 5)[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one, newton_schulz(alone.mT[None], 5)[0].mT, rtol=1e-4, atol=1e-5)


def test_size_of_the_gradient_does_not_matter():
    u = normal(2, 6, 9, seed=1)
    torch.testing.assert_close(newton_schulz(u, 5), newton_schulz(u * 1e4, 5), rtol=1e-4, atol=1e-5)
    assert bool((newton_schulz(torch.zeros(1, 3, 3), 5) == 0).all())


def test_a_matrix_without_gradient_stays():
    weights = [torch.nn.Parameter(normal(4, 4, seed=i)) for i in range(2)]
    start_weights = weights[0].detach().clone()
    muon = Muon(weights, Ranks(), **{**PUBLISHED, "weight_decay": 0.1})
    weights[1].grad = normal(4, 4, seed=7)
    muon.step()
    assert torch.equal(weights[0], start_weights)
    assert not torch.equal(weights[1], normal(4, 4, seed=1))


def test_the_scheduled_rate_scales_update_and_decay():
    w = torch.nn.Parameter(normal(4, 4, seed=0))
    muon = Muon([w], Ranks(), **{**PUBLISHED, "weight_decay": 0.5})
    muon.param_groups[0]["lr"] = 0.0
    w.grad = normal(4, 4, seed=1)
    muon.step()
    assert torch.equal(w, normal(4, 4, seed=0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 0.0),
        ("lr", -1.0),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("momentum_start", 1.0),
        ("momentum_warmup_steps", -1),
        ("newton_schulz_steps", 0),
        ("weight_decay", -0.1),
    ],
)
def test_settings_that_cannot_be_are_refused_by_key(key, value):
    with pytest.raises(OptionError) as refused:
        Muon([torch.nn.Parameter(torch.zeros(2, 2))], Ranks(), **{**PUBLISHED, key: value})
    assert (refused.value.key, refused.value.value) == (key, value)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), ()], ids=str)
def test_it_trains_matrices_only(shape):
    with pytest.raises(OptionError, match="matrices only"):
        Muon([torch.nn.Parameter(torch.zeros(shape))], Ranks(), **PUBLISHED)
