"""The rotation before the MLP against its formula in float64, in each implementation, and at its limits."""

import importlib
import importlib.util
import math
import os
import sys

import pytest
import torch

import pgolf.nn
from pgolf.config.auto import machine_shortages
from pgolf.config.build import build_model
from pgolf.errors import ConfigError, PgolfError
from pgolf.execution.provenance import loaded_code
from pgolf.nn.mlp.pre_rotation import PreRotation
from pgolf.nn.mlp.relu2 import Relu2
from pgolf.nn.pair_rotation import IMPLEMENTATIONS, PairRotation, rotated_pairs, turned
from tiny import redraw, tiny_config, tiny_dims, tiny_model

PAIRS = 5
CAN_INTERPRET = importlib.util.find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"
FORMS = [
    pytest.param(
        name, marks=pytest.mark.skipif(name == "triton" and not CAN_INTERPRET, reason="needs Triton; make test-triton")
    )
    for name in IMPLEMENTATIONS
]
TRITON = ("model/mlp=pre_rotation", "model.mlp.implementation=triton")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(implementation: str, angle: str) -> PreRotation:
    mlp = PreRotation(tiny_dims(), 0, pairs=PAIRS, angle=angle, only_first=False, implementation=implementation)
    redraw(mlp, 1)
    return mlp.double()


@pytest.mark.parametrize("implementation", FORMS)
@pytest.mark.parametrize("angle", ["content", "constant"])
def test_formula_and_gradients_position_by_position(implementation, angle):
    mlp, x = made(implementation, angle), normal(2, 3, 32).requires_grad_()
    z = mlp(x)
    rows = []
    for position in x.flatten(0, 1).unbind():
        theta = mlp.angle.weight @ position if angle == "content" else mlp.angle.theta
        y = list(position.unbind())
        for j in range(PAIRS):
            a, b = position[j], position[j + PAIRS]
            y[j] = a * theta[j].cos() + b * theta[j].sin()
            y[j + PAIRS] = -a * theta[j].sin() + b * theta[j].cos()
        rows.append(mlp.proj.weight @ (mlp.fc.weight @ torch.stack(y)).clamp(min=0) ** 2)
    expected = torch.stack(rows).view_as(z)
    torch.testing.assert_close(z, expected, rtol=1e-11, atol=1e-11)
    weights = [x, *mlp.parameters()]
    g = normal(2, 3, 32, seed=2)
    for actual, wanted in zip(
        torch.autograd.grad(z, weights, g), torch.autograd.grad(expected, weights, g), strict=True
    ):
        torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10)


def test_the_gradient_by_formula_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(
        PairRotation.apply, (normal(2, 3, 8).requires_grad_(), normal(2, 3, 4).requires_grad_())
    )


def test_the_form_for_other_devices_is_the_same_function():
    x, theta = normal(2, 3, 32), normal(2, 3, PAIRS) * 10
    assert torch.equal(rotated_pairs(x, theta), turned(x[..., : 2 * PAIRS], theta.cos(), theta.sin()))
    assert rotated_pairs(x.bfloat16(), theta.float()).dtype == torch.bfloat16


def test_a_quarter_turn_swaps_the_pairs():
    y = rotated_pairs(x := normal(1, 2, 32), torch.full((PAIRS,), math.pi / 2, dtype=torch.float64))
    torch.testing.assert_close(y, torch.cat((x[..., PAIRS : 2 * PAIRS], -x[..., :PAIRS]), dim=-1))


@pytest.mark.parametrize("implementation", FORMS)
@pytest.mark.parametrize("angle", ["content", "constant"])
def test_it_starts_as_the_plain_layer(implementation, angle):
    mlp, plain, x = made(implementation, angle), Relu2(tiny_dims(), 0).double(), normal(2, 3, 32)
    mlp.angle.reset_parameters()
    plain.load_state_dict(mlp.state_dict(), strict=False)
    torch.testing.assert_close(mlp(x), plain(x), rtol=1e-12, atol=1e-12)


def test_only_the_first_block_may_rotate():
    model = tiny_model(tiny_config("model/mlp=pre_rotation", "model.mlp.only_first=true"))
    assert [mlp.angle is not None for mlp in model.mlp] == [True, False, False]


def test_a_width_below_two_times_the_pairs_is_refused():
    config = tiny_config("model/mlp=pre_rotation", "model.mlp.pairs=32")
    with pytest.raises(ConfigError, match=r"model\.mlp\.pairs: cannot be used \(32\); choose from 1 to 16, half of "):
        build_model(config.model)


def test_its_files_count_as_code_of_a_run():
    """They would not if a command imported them beside the workers."""
    assert {"nn/mlp/pre_rotation.py", "nn/pair_rotation.py"} <= set(loaded_code())


def test_triton_that_is_missing_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "pgolf.nn.pre_rotation_kernel", raising=False)
    monkeypatch.delattr(pgolf.nn, "pre_rotation_kernel", raising=False)
    words = "model.mlp.implementation: cannot be used (triton); the package triton is missing: python -m pip install "
    (problem,) = machine_shortages(tiny_config(*TRITON))
    assert problem.startswith(words)
    with pytest.raises(PgolfError) as caught:
        importlib.import_module("pgolf.nn.pre_rotation_kernel")
    assert str(caught.value) == problem
    assert machine_shortages(tiny_config("model/mlp=pre_rotation")) == []


def test_more_pairs_than_a_tile_holds_are_refused():
    config = tiny_config(*TRITON, "model.width=512", "model.mlp.pairs=129")
    with pytest.raises(ConfigError, match=r"model\.mlp\.pairs: cannot be used \(129\); choose at most 128 with impl"):
        build_model(config.model)
