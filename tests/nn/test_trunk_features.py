"""The options of the trunk, each by its formula in float64 and its limit case."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx

from pgolf.config.build import build_model
from pgolf.nn.attention import Attention, without_self
from pgolf.nn.primitives import bf16_values, rms_norm, rotary_angles, rotate
from pgolf.nn.smear import SmearGate
from tiny import CPU, logp_of, published_config, random_ids, redraw, stack_config, tiny_config, tiny_dims, tiny_model


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestExclusiveSelfAttention:
    @pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
    def test_output_is_orthogonal_to_the_value_and_nothing_else_is_lost(self, heads, kv_heads):
        y, v = normal(2, heads, 7, 8), normal(2, kv_heads, 7, 8, seed=1)
        actual = without_self(y, v)
        for head in range(heads):
            own = v[:, head // (heads // kv_heads)]
            along = (actual[:, head] * own).sum(-1)
            assert along.abs().max() < 1e-12
            lost = y[:, head] - actual[:, head]
            share = (y[:, head] * own).sum(-1, keepdim=True) / own.square().sum(-1, keepdim=True)
            torch.testing.assert_close(lost, share * own, rtol=1e-10, atol=1e-12)
            assert lost.norm(dim=-1).min() > 1e-4

    def test_a_value_of_zero_takes_nothing_away(self):
        y = normal(1, 2, 3, 8)
        assert torch.equal(without_self(y, torch.zeros(1, 2, 3, 8, dtype=torch.float64)), y)

    def test_an_output_orthogonal_already_stays(self):
        y = torch.tensor([[[[0.0, 3.0, 4.0, 0.0]]]], dtype=torch.float64)
        v = torch.tensor([[[[5.0, 0.0, 0.0, 0.0]]]], dtype=torch.float64)
        assert torch.equal(without_self(y, v), y)
        assert torch.equal(without_self(v, v), torch.zeros_like(v))

    def test_the_first_position_sees_nothing_but_itself_and_is_left_with_zero(self):
        dims = tiny_dims()
        module = Attention(dims, q_gain_init=1.5)
        redraw(module, 1)
        module.double()
        x, q, rotary = normal(2, 6, 32), normal(2, 6, 32, seed=1), rotary_angles(6, dims.head_dim, 10000.0, CPU)
        y = module(x, q, rotary, exclude_self=True)
        assert y[:, 0].abs().max() < 1e-10
        assert y[:, 1:].abs().max() > 0.1
        assert module(x, q, rotary)[:, 0].abs().max() > 0.1

    @pytest.mark.parametrize("last", [0, 1, 3, 5])
    @pytest.mark.parametrize("cores", [1, 5])
    def test_it_is_a_matter_of_the_pass_from_the_end(self, last, cores):
        model = build_model(stack_config("pr908", f"model.xsa_last_n={last}", f"model.unique_blocks={cores}").model)
        assert [one.exclude_self for one in model.passes()] == [False] * (5 - last) + [True] * last

    def test_published_passes(self):
        passes = build_model(published_config("pr908").model).passes()
        assert [i for i, one in enumerate(passes) if one.exclude_self] == [7, 8, 9, 10]

    def test_the_direction_is_that_of_the_value_with_its_embedding(self):
        dims = tiny_dims(heads=2, kv_heads=2)
        module = Attention(dims, q_gain_init=1.5)
        redraw(module, 1)
        module.double()
        with torch.no_grad():
            module.out.weight.copy_(torch.eye(32))
        x, value = normal(1, 6, 32), normal(1, 6, 32, seed=3)
        rotary = rotary_angles(6, dims.head_dim, 10000.0, CPU)
        y = module(x, x, rotary, value_BTE=value, exclude_self=True).view(1, 6, 2, 16)
        plain, summed = (
            F.linear(x, module.v.weight).view(1, 6, 2, 16),
            (F.linear(x, module.v.weight) + value).view(1, 6, 2, 16),
        )
        assert (y * summed).sum(-1).abs().max() < 1e-9
        assert (y * plain).sum(-1).abs()[:, 1:].max() > 0.1


class TestPartialRotary:
    def test_all_dims_are_the_ordinary_rotation(self):
        x = normal(2, 12, 3, 8)
        model = tiny_config("model.rotary_dims=8").model
        assert model == tiny_config().model, "the default rotates the whole head"
        turn = torch.polar(
            torch.ones(12, 4, dtype=torch.float64),
            -torch.outer(
                torch.arange(12.0, dtype=torch.float64), 10000.0 ** (-2 * torch.arange(4, dtype=torch.float64) / 8)
            ),
        )
        z = torch.complex(x[..., :4], x[..., 4:]) * turn[:, None, :]
        torch.testing.assert_close(
            rotate(x, *rotary_angles(12, 8, 10000.0, CPU)), torch.cat((z.real, z.imag), -1), rtol=1e-5, atol=1e-5
        )

    @pytest.mark.parametrize("dims", [2, 4, 6])
    def test_the_rest_passes_through_and_the_first_are_a_small_head(self, dims):
        x = normal(2, 12, 3, 8)
        angles = rotary_angles(12, dims, 100.0, CPU)
        y = rotate(x, *angles)
        assert torch.equal(y[..., dims:], x[..., dims:])
        torch.testing.assert_close(y[..., :dims], rotate(x[..., :dims].contiguous(), *angles), rtol=0, atol=0)
        assert not torch.equal(y[:, 1:, :, :dims], x[:, 1:, :, :dims])

    def test_published_frequencies(self):
        trunk = build_model(published_config("pr908").model).trunk
        cos, sin = rotary_angles(2, trunk.rotary_dims, trunk.rotary_base, CPU)
        expected = [22_081.79 ** (-2 * j / 16) for j in range(8)]
        torch.testing.assert_close(
            torch.atan2(sin[1], cos[1]).double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-9
        )


class TestNtk:
    def test_published_base(self):
        assert build_model(published_config("pr908").model).trunk.rotary_base == pytest.approx(22_081.79, abs=5e-3)
        assert build_model(published_config("pr215").model).trunk.rotary_base == 10_000.0

    @pytest.mark.parametrize("factor", [1.0, 2.0, 3.5])
    @pytest.mark.parametrize("dims", [4, 8, 16])
    def test_the_slowest_pair_is_stretched_by_the_factor_and_the_fastest_not_at_all(self, factor, dims):
        config = stack_config("pr908", f"model.rope_ntk_factor={factor}", f"model.rotary_dims={dims}")
        base = build_model(config.model).trunk.rotary_base
        slowest = (dims - 2) / dims
        assert base**-slowest == pytest.approx(10_000.0**-slowest / factor, rel=1e-12)
        assert base**0 == 1


class TestBf16Frequencies:
    def test_frequencies_are_rounded_and_positions_are_not(self):
        exact = rotary_angles(1024, 64, 10000.0, CPU)
        cos, sin = rotary_angles(1024, 64, 10000.0, CPU, bf16_frequencies=True)
        frequency = torch.atan2(sin[1], cos[1])
        expected = (10000.0 ** (-torch.arange(0, 64, 2) / 64)).bfloat16().float()
        torch.testing.assert_close(frequency, expected, rtol=1e-6, atol=1e-9)
        off = (frequency / torch.atan2(exact[1][1], exact[0][1]) - 1).abs()
        assert 1e-3 < off.max() < 1 / 256
        assert len(torch.unique(torch.cat((cos, sin), 1), dim=0)) == 1024

    def test_positions_are_those_of_a_bf16_range(self):
        """As the trainer asks for them: arange in the type of the frequencies, of which 513 of 1,024 are distinct."""
        exact = rotary_angles(1024, 64, 10000.0, CPU)[0]
        cos, sin = rotary_angles(1024, 64, 10000.0, CPU, bf16_frequencies=True, bf16_positions=True)
        frequency = (10000.0 ** (-torch.arange(0, 64, 2) / 64)).bfloat16().float()
        angle = torch.outer(torch.arange(1024, dtype=torch.bfloat16).float(), frequency)
        torch.testing.assert_close((cos, sin), (angle.cos(), angle.sin()), rtol=0, atol=1e-6)
        assert len(torch.unique(torch.cat((cos, sin), 1), dim=0)) == 513
        assert 1.67 < (cos - exact).abs().max() < 1.70

    @torch.no_grad()
    def test_a_model_with_such_positions_differs_from_position_257_on(self):
        ids = random_ids(1, 270)
        exact, rounded = (
            logp_of(tiny_model(tiny_config(*defect)), ids) for defect in ((), ("defects.rope_bf16_positions=true",))
        )
        assert torch.equal(exact[:, :257], rounded[:, :257])
        assert not torch.allclose(exact[:, 257], rounded[:, 257], atol=1e-4)

    def test_numbers_are_rounded_as_a_conversion_rounds_them(self):
        x = torch.randn(10_000, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-40, 10).repeat(200)
        ties = torch.tensor([257.0, 259.0, -257.0, -0.0, 0.0, 1e-45])
        for numbers in (x, ties, torch.arange(70_000.0)):
            assert torch.equal(bf16_values(numbers), numbers.bfloat16().float())

    def test_no_conversion_to_bf16_and_back_is_left_to_the_compiler(self):
        """torch's compiler leaves such a pair out, and the compiled model would be another one."""
        graph = make_fx(lambda: rotary_angles(8, 4, 10000.0, CPU, bf16_frequencies=True, bf16_positions=True))()
        assert "bitwise_and" in graph.code
        assert "bfloat16" not in graph.code


@pytest.mark.parametrize(("scaled", "cores"), [(True, 5), (True, 1), (False, 5)])
def test_inputs_of_pass_i_are_divided_by_the_root_of_its_depth(scaled, cores):
    config = stack_config("pr908", f"model.depth_scaled_norm={scaled}", f"model.unique_blocks={cores}")
    x = normal(1, 3, 32)
    for i, one in enumerate(build_model(config.model).passes()):
        torch.testing.assert_close(one.norm(x), rms_norm(x) / math.sqrt(i + 1 if scaled else 1), rtol=1e-12, atol=0)


class TestSmearGate:
    def made(self, p: torch.Tensor) -> SmearGate:
        gate = SmearGate(tiny_dims()).double()
        with torch.no_grad():
            gate.p.copy_(p)
        return gate

    def test_formula_position_by_position(self):
        p, e = normal(32, seed=2), normal(2, 6, 32)
        actual = self.made(p)(e)
        for t in range(6):
            before = e[:, t - 1] if t else torch.zeros(2, 32, dtype=torch.float64)
            share = 1 / (1 + torch.exp(-p))
            torch.testing.assert_close(actual[:, t], (1 - share) * e[:, t] + share * before, rtol=1e-12, atol=1e-12)

    def test_a_closed_gate_changes_nothing_and_an_open_one_shifts(self):
        e = normal(2, 6, 32)
        assert torch.equal(self.made(torch.full((32,), -1e4))(e), e)
        shifted = self.made(torch.full((32,), 1e4))(e)
        assert torch.equal(shifted[:, 1:], e[:, :-1])
        assert not bool(shifted[:, 0].any())

    def test_starts_half_open(self):
        gate = SmearGate(tiny_dims()).double()
        gate.reset_parameters()
        e = normal(1, 2, 32)
        torch.testing.assert_close(gate(e)[:, 1], (e[:, 0] + e[:, 1]) / 2)
        torch.testing.assert_close(gate(e)[:, 0], e[:, 0] / 2)


SHUT = {"attn_scale": torch.zeros(32), "mlp_scale": torch.zeros(32)}


class TestGains:
    """With both branches at zero, a pass is the mix alone. With one branch, its output is scaled per dimension."""

    def passed(self, **gains: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        model = tiny_model(tiny_config()).double()
        with torch.no_grad():
            for key, value in gains.items():
                getattr(model.gains[1], key).copy_(value)
        x, x0 = normal(1, 5, 32), normal(1, 5, 32, seed=1)
        return x, x0, model.passes()[1](x, x0, rotary_angles(5, 8, 10000.0, CPU))

    def test_residual_mixing(self):
        mix = normal(2, 32, seed=5)
        x, x0, y = self.passed(**SHUT, resid_mix=mix)
        torch.testing.assert_close(y, mix[0] * x + mix[1] * x0, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize(("mix", "which"), [((1.0, 0.0), 0), ((0.0, 1.0), 1)])
    def test_limits_of_the_mix(self, mix, which):
        outputs = self.passed(**SHUT, resid_mix=torch.tensor(mix)[:, None].expand(2, 32))
        assert torch.equal(outputs[2], outputs[which])

    @pytest.mark.parametrize("branch", ["attn_scale", "mlp_scale"])
    def test_scales_are_per_dimension(self, branch):
        scale = normal(32, seed=6)
        shut = {**SHUT, "resid_mix": torch.tensor([[1.0], [0.0]]).expand(2, 32)}
        x, _, unit = self.passed(**{**shut, branch: torch.ones(32)})
        _, _, scaled = self.passed(**{**shut, branch: scale})
        assert (unit - x).abs().min() > 0
        torch.testing.assert_close(scaled - x, scale * (unit - x), rtol=1e-9, atol=1e-12)


class TestSharedCores:
    """n copies of one core equal unique_blocks=1, and k cores are cycled, with any wiring and any feature."""

    @pytest.mark.parametrize(("stack", "depth"), [("pr470", "unet"), ("pr908", "plain"), ("pr215", "unet")])
    @pytest.mark.parametrize("cores", [1, 2])
    def test_equal_a_stack_of_copies(self, stack, cores, depth):
        shared = tiny_model(stack_config(stack, f"model.unique_blocks={cores}", f"model/depth={depth}"))
        copies = tiny_model(stack_config(stack, "model.unique_blocks=5", f"model/depth={depth}"), seed=9)
        state = dict(shared.state_dict())
        for name in copies.state_dict():
            slot, *rest = name.split(".")
            if slot in ("q_proj", "attention", "mlp"):
                state[name] = shared.state_dict()[".".join([slot, str(int(rest[0]) % cores), *rest[1:]])]
        copies.load_state_dict(state)
        ids = random_ids(2, 8)
        with torch.no_grad():
            assert torch.equal(logp_of(shared, ids), logp_of(copies, ids))
        assert sum(p.numel() for p in shared.parameters()) <= sum(p.numel() for p in copies.parameters())
