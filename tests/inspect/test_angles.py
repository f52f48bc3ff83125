"""Angles of pre-rotation: their size, the control, ranks beside random ones, and that they are those of the model."""

import math

import pytest
import torch

from pgolf.inspect.angles import angle_lines, layer_angles, pre_rotation, rotates, scrambled
from tiny import random_ids, tiny_config, tiny_model

ROTATING = "model/mlp=pre_rotation"


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_angles_of_a_known_map_and_what_is_left_of_them_in_random_order() -> None:
    """Every input is the first axis, on which A gives 45 and -90 degrees. In random order an eighth of them is."""
    x, a = torch.zeros(4000, 8), torch.zeros(2, 8)
    x[:, 0], a[:, 0] = 1, torch.tensor([math.pi / 4, -math.pi / 2])
    found = layer_angles(3, x, a, draws=5)
    rms = math.sqrt((45**2 + 90**2) / 2)
    assert (found.layer, found.size.rms_degrees) == (3, pytest.approx(rms))
    assert found.size.largest_degrees == pytest.approx(90)
    assert found.scrambled is not None
    assert found.scrambled.rms_degrees == pytest.approx(rms / math.sqrt(8), rel=0.05)
    assert found.map_rank is not None
    assert found.angle_rank is not None
    assert found.map_rank.value == pytest.approx(1)
    assert found.map_rank.outside
    assert found.angle_rank.value == pytest.approx(1)
    assert not found.angle_rank.outside, "on inputs of one direction every map has one"


def test_a_random_map_gives_the_angles_of_its_control_and_has_the_ranks_of_random_maps() -> None:
    found = layer_angles(0, normal(3000, 32), normal(6, 32, seed=1), draws=39)
    assert found.scrambled is not None
    assert found.size.rms_degrees == pytest.approx(found.scrambled.rms_degrees, rel=0.03)
    for rank in (found.map_rank, found.angle_rank):
        assert rank is not None
        assert rank.sds is not None
        assert abs(rank.sds) < 4
    x = normal(5, 7)
    other = scrambled(x, torch.Generator().manual_seed(0))
    assert torch.equal(other.sort(1).values, x.sort(1).values)
    assert len({tuple(row) for row in (other.argsort(1).argsort(1) - x.argsort(1).argsort(1)).tolist()}) == 5


def test_the_angles_are_those_of_the_model() -> None:
    model, ids = tiny_model(tiny_config(ROTATING, "model.unique_blocks=2")), random_ids(2, 12)
    seen: list[torch.Tensor] = []
    hooks = [mlp.register_forward_pre_hook(lambda own, x: seen.append(own.angle(x[0]))) for mlp in model.mlp]
    found = pre_rotation(model, ids, draws=3)
    for hook in hooks:
        hook.remove()
    assert [one.layer for one in found] == [0, 1, 2]
    for one, theta in zip(found, seen, strict=True):
        assert one.size.largest_degrees == pytest.approx(math.degrees(float(theta.detach().abs().max())), rel=1e-5)
    assert all(not mlp._forward_pre_hooks for mlp in model.mlp)


def test_constant_angles_have_no_control_and_plain_layers_no_angles() -> None:
    model = tiny_model(tiny_config(ROTATING, "model.mlp.angle=constant", "model.mlp.only_first=true"))
    with torch.no_grad():
        model.mlp[0].angle.theta.copy_(torch.tensor([0.0, 0.0, 0.0, math.pi]))
    (found,) = pre_rotation(model, random_ids(1, 4))
    assert (found.size.rms_degrees, found.size.largest_degrees) == (pytest.approx(90), pytest.approx(180))
    assert found.to_dict()["scrambled"] is found.to_dict()["angle_effective_rank"] is None
    assert angle_lines([found])[1].split() == ["layer", "0", "90.0", "180.0", "-", "-", "-", "-"]
    plain = tiny_model(tiny_config())
    assert rotates(model)
    assert not rotates(plain)
    assert pre_rotation(plain, random_ids(1, 4)) == []


def test_a_map_that_is_zero_has_angles_of_zero_and_no_rank() -> None:
    found = layer_angles(0, normal(20, 8), torch.zeros(3, 8), draws=3)
    assert found.size.largest_degrees == 0
    assert found.to_dict()["map_effective_rank"]["value"] is None
    assert found.to_dict()["angle_effective_rank"]["value"] is None
    assert angle_lines([found])[1].split()[6] == "-"
