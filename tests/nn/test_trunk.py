"""The trunk against formulas written out in float64."""

import math

import pytest
import torch
from reference import attention, block, tied_unet_logp

from pgolf.config.build import build_model
from pgolf.nn.attention import Attention
from pgolf.nn.depth.plain import Plain
from pgolf.nn.depth.unet import UNet
from pgolf.nn.primitives import rms_norm, rotary_angles, rotate, softcap
from pgolf.nn.q_proj.full import Full
from pgolf.nn.q_proj.low_rank import LowRank
from tiny import logp_of, random_ids, redraw, tiny_config, tiny_dims, tiny_model

CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # rotary angles and softcap are fp32 whatever the weights


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1), (2, 1)])
def test_attention_head_by_head(heads, kv_heads):
    dims = tiny_dims(heads=heads, kv_heads=kv_heads)
    module = Attention(dims, q_gain_init=1.5)
    redraw(module, 1)
    module.double()
    x, q = normal(2, 9, 32), normal(2, 9, 32, seed=1)
    actual = module(x, q, rotary_angles(9, dims.head_dim, 10000.0, torch.device("cpu")))
    state = {name: t.detach() for name, t in module.state_dict().items()}
    expected = torch.stack([attention(x[b], q[b], state, heads, kv_heads, 10000.0) for b in range(2)])
    torch.testing.assert_close(actual, expected, **CLOSE)
    assert expected.std() > 0.1


def test_q_gain_starts_where_the_configuration_says():
    model = tiny_model(tiny_config("model.q_gain_init=2.5"), seed=None)
    assert all(bool((a.q_gain == 2.5).all()) for a in model.attention)


@pytest.mark.parametrize("base", [10.0, 10000.0])
def test_rotary_scores_depend_on_the_distance_alone(base):
    q, k = normal(8), normal(8, seed=1)
    cos, sin = rotary_angles(40, 8, base, torch.device("cpu"))

    def score(m: int, n: int) -> float:
        return float(
            rotate(q[None, None], cos[m, None], sin[m, None]).flatten()
            @ rotate(k[None, None], cos[n, None], sin[n, None]).flatten()
        )

    for distance in (0, 1, 5, 17):
        scores = [score(m, m - distance) for m in (17, 23, 39)]
        assert max(scores) - min(scores) < 1e-5
    assert abs(score(17, 17) - score(17, 0)) > 1e-2


def test_rotary_is_multiplication_by_a_unit_complex_number():
    x = normal(2, 30, 3, 8)
    cos, sin = rotary_angles(30, 8, 10000.0, torch.device("cpu"))
    y = rotate(x, cos, sin)
    frequency = 10000.0 ** (-2 * torch.arange(4, dtype=torch.float64) / 8)
    turn = torch.exp(-1j * torch.outer(torch.arange(30, dtype=torch.float64), frequency))[:, None, :]
    z = torch.complex(x[..., :4], x[..., 4:]) * turn
    torch.testing.assert_close(y, torch.cat((z.real, z.imag), -1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(y[:, 0], x[:, 0], rtol=1e-6, atol=1e-6)


def test_rotary_tells_all_published_positions_apart():
    cos, sin = rotary_angles(1024, 64, 10000.0, torch.device("cpu"))
    exact = torch.outer(
        torch.arange(1024, dtype=torch.float64), 10000.0 ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    )
    assert len(torch.unique(torch.cat((cos, sin), 1), dim=0)) == 1024
    torch.testing.assert_close(cos.double(), exact.cos(), rtol=0, atol=2e-4)
    torch.testing.assert_close(sin.double(), exact.sin(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rms_norm_and_softcap(scale):
    x = normal(3, 32).float() * scale
    expected = x.double() / (x.double().square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()
    torch.testing.assert_close(rms_norm(x).double(), expected, rtol=1e-5, atol=1e-6)
    z = normal(50) * 40 * scale
    capped = softcap(z, 30.0)
    assert capped.abs().max() <= 30.0
    torch.testing.assert_close(capped.double(), 30 * torch.tanh(z / 30), rtol=1e-5, atol=1e-5)
    assert softcap(z.bfloat16(), 30.0).dtype == torch.float32


def test_block_formula():
    config = tiny_config("model.unique_blocks=2")
    model = tiny_model(config).double()
    x, x0 = normal(2, 7, 32), normal(2, 7, 32, seed=1)
    rotary = rotary_angles(7, 8, 10000.0, torch.device("cpu"))
    state = {name: t.detach() for name, t in model.state_dict().items()}
    actual = model.passes()[2](x, x0, rotary)
    expected = torch.stack([block(x[b], x0[b], state, 0, 2, model.dims, 10000.0) for b in range(2)])
    torch.testing.assert_close(actual, expected, **CLOSE)


@pytest.mark.parametrize("depth", ["unet", "plain"])
@pytest.mark.parametrize(("layers", "cores"), [(1, 1), (3, 3), (4, 4), (5, 2), (4, 1)])
def test_whole_model_against_the_formula(depth, layers, cores):
    config = tiny_config(
        f"model/depth={depth}", f"model.layers={layers}", f"model.unique_blocks={cores}", "model.rope_base=100.0"
    )
    model = tiny_model(config)
    ids = random_ids(1, 8)
    with torch.no_grad():
        actual = logp_of(model, ids)[0].double()
    expected = tied_unet_logp(ids[0], dict(model.state_dict()), model.dims, cores, 100.0)
    torch.testing.assert_close(actual, expected, rtol=2e-4, atol=2e-4)
    assert expected.std() > 0.3


def test_targets_shorter_than_the_input_are_its_last_ones():
    model, ids, y = tiny_model(tiny_config()), random_ids(2, 12), random_ids(2, 12, seed=1)
    with torch.no_grad():
        whole = model(ids, y)
        for scored in (1, 5, 12):
            torch.testing.assert_close(model(ids, y[:, -scored:]), whole[:, -scored:], rtol=1e-5, atol=1e-5)


class TestUnet:
    """Blocks are x -> 2x + i, so that every order of pushes and pops gives a different number."""

    def wired(self, layers: int, weights: list[float]) -> float:
        unet = UNet(tiny_dims(layers=layers, width=2))
        with torch.no_grad():
            unet.skip_weights.copy_(torch.tensor(weights)[:, None].expand(-1, 2) if weights else torch.empty(0, 2))
            y = unet(torch.full((1, 1, 2), 3.0), [lambda x, i=i: 2 * x + i for i in range(layers)])
        assert bool((y == y[0, 0, 0]).all())
        return float(y[0, 0, 0])

    def test_even(self):
        a = 2 * 3.0 + 0
        b = 2 * a + 1
        c = 2 * (b + 0.5 * b) + 2  # the innermost skip adds the stream to itself
        d = 2 * (c + 7.0 * a) + 3
        assert self.wired(4, [0.5, 7.0]) == d

    def test_odd(self):
        a = 2 * 3.0 + 0
        b = 2 * a + 1
        c = 2 * (b + 0.5 * b) + 2
        d = 2 * (c + 7.0 * a) + 3
        e = 2 * d + 4  # the last decoder block has no skip
        assert self.wired(5, [0.5, 7.0]) == e

    def test_one_layer_has_no_skip(self):
        assert self.wired(1, []) == 6.0

    @pytest.mark.parametrize("layers", range(1, 7))
    def test_skip_weights_start_at_one(self, layers):
        unet = UNet(tiny_dims(layers=layers))
        unet.reset_parameters()
        assert unet.skip_weights.shape == (layers // 2, 32)
        assert bool((unet.skip_weights == 1).all())


def test_plain_is_composition():
    assert Plain(tiny_dims())(torch.tensor(3.0), [lambda x: 2 * x, lambda x: x + 5, lambda x: x * x]) == 121.0


class TestSharedCores:
    @pytest.mark.parametrize(("layers", "cores"), [(3, 1), (5, 2), (4, 3)])
    def test_equal_an_ordinary_stack_of_copies(self, layers, cores):
        shared = tiny_model(tiny_config(f"model.layers={layers}", f"model.unique_blocks={cores}"))
        stack = tiny_model(tiny_config(f"model.layers={layers}"), seed=9)
        weights = shared.state_dict()
        for name in stack.state_dict():
            slot, *rest = name.split(".")
            if slot in ("q_proj", "attention", "mlp"):
                weights[name] = shared.state_dict()[".".join([slot, str(int(rest[0]) % cores), *rest[1:]])]
        stack.load_state_dict(weights)
        ids = random_ids(2, 10)
        with torch.no_grad():
            assert torch.equal(logp_of(shared, ids), logp_of(stack, ids))

    def test_have_gains_of_their_own_per_pass(self):
        model = tiny_model(tiny_config("model.unique_blocks=1"))
        assert (len(model.q_proj), len(model.attention), len(model.mlp), len(model.gains)) == (1, 1, 1, 3)
        ids = random_ids(1, 10)
        with torch.no_grad():
            before = logp_of(model, ids)
            for gains in model.gains:
                backup = gains.mlp_scale.clone()
                gains.mlp_scale.add_(1.0)
                assert not torch.equal(logp_of(model, ids), before)
                gains.mlp_scale.copy_(backup)


class TestLowRank:
    def test_full_rank_represents_any_matrix(self):
        dims = tiny_dims()
        full, factors = Full(dims, 0), LowRank(dims, 0, rank=32, norm=False)
        with torch.no_grad():
            factors.down.weight.copy_(torch.eye(32))
            factors.up.weight.copy_(full.proj.weight)
        x = normal(2, 5, 32).float()
        torch.testing.assert_close(factors(x), full(x))

    @pytest.mark.parametrize("rank", [1, 5])
    def test_represents_a_matrix_of_its_rank_and_no_more(self, rank):
        dims = tiny_dims()
        factors = LowRank(dims, 0, rank=rank, norm=False).double()
        redraw(factors, 1)
        matrix = factors(torch.eye(32, dtype=torch.float64)[None])[0].T
        assert torch.linalg.matrix_rank(matrix) == rank
        torch.testing.assert_close(matrix, factors.up.weight @ factors.down.weight)


def test_attention_scale_is_one_over_the_root_of_the_head_size():
    """With all keys but one equal, the softmax reveals the scale."""
    dims = tiny_dims(width=16, heads=1, kv_heads=1)
    module = Attention(dims, q_gain_init=1.0).double()
    with torch.no_grad():
        module.q_gain.fill_(2.0)
        for linear in (module.k, module.v, module.out):
            linear.weight.copy_(torch.eye(16))
    still = (torch.ones(2, 8), torch.zeros(2, 8))
    x = torch.zeros(1, 2, 16, dtype=torch.float64)
    x[0, 0, 0] = x[0, 1, 1] = 1.0
    y = module(x, x, still)[0, 1]
    # unit rows normalise to 4 e_j; q.k is 2 * 16 with itself and 0 with the other, over sqrt(16)
    own = 1 / (1 + math.exp(-2 * 16 / 4))
    torch.testing.assert_close(y[1], torch.tensor(own, dtype=torch.float64), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(y[0], torch.tensor(1 - own, dtype=torch.float64), rtol=1e-3, atol=1e-9)


def test_a_model_is_built_without_memory():
    model = build_model(tiny_config("model.width=4096", "model.vocab_size=100000").model)
    assert all(p.is_meta for p in model.parameters())
