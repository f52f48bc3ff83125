"""Depth variants over the outputs of earlier sublayers, against their formulas in float64, and at their limits."""

import pytest
import torch

from pgolf.config.build import build_model
from pgolf.errors import ConfigError
from pgolf.nn.block import BoundBlock
from pgolf.nn.depth.attn_res import AttnRes
from pgolf.nn.depth.dense_scalars import DenseScalars
from pgolf.nn.depth.depth_attention import DepthAttention
from pgolf.nn.primitives import rotary_angles
from pgolf.optim.roles import parameter_roles
from tiny import CPU, logp_of, random_ids, redraw, tiny_config, tiny_dims, tiny_model

LAYERS, D = 3, 32
L = 2 * LAYERS


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class SineBlock:
    """Attention (i + 1) sin(x + i), MLP cos((i + 2) x)."""

    def __init__(self, i: int):
        self.i = i

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        return (self.i + 1) * torch.sin(x + self.i)

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos((self.i + 2) * x)


BLOCKS = [SineBlock(i) for i in range(LAYERS)]
SUBLAYERS = [f for block in BLOCKS for f in (block.attention, block.mlp)]


def drawn(depth: torch.nn.Module) -> torch.nn.Module:
    redraw(depth, 1, std=1.0)
    return depth.double()


def key(v_BTD: torch.Tensor) -> torch.Tensor:
    return v_BTD / (v_BTD.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def attended(logits: list[torch.Tensor], sources: list[torch.Tensor]) -> torch.Tensor:
    total = sum(s.exp() for s in logits)
    return sum((s.exp() / total)[..., None] * v for s, v in zip(logits, sources, strict=True))


class TestAttnRes:
    @pytest.mark.parametrize("size", [1, 2, 4, 6])
    @pytest.mark.parametrize("norm", [True, False])
    def test_formula(self, size, norm):
        depth, x = drawn(AttnRes(tiny_dims(), block_size=size, key_norm=norm)), normal(2, 5, D)
        v, h = [x], x
        for layer in range(2, L + 2):  # the destination; its sources are v_0 .. v_{layer-1}
            v.append(SUBLAYERS[layer - 2](h))
            blocks = [sum(v[first : first + size][: layer - first]) for first in range(1, layer, size)]
            w, sources = getattr(depth, f"w{layer}"), [x, *blocks]
            h = attended([((key(s) if norm else s) * w).sum(-1) for s in sources], sources)
        assert len(blocks) == -(-L // size)
        torch.testing.assert_close(depth(x, BLOCKS), h, rtol=1e-12, atol=1e-12)

    def test_starts_as_the_mean_of_all_sources(self):
        depth, scalars = AttnRes(tiny_dims(), block_size=1, key_norm=True), DenseScalars(tiny_dims()).double()
        depth.double().reset_parameters()
        with torch.no_grad():
            for a in scalars.parameters():
                a.fill_(1 / len(a))
        x = normal(2, 5, D)
        torch.testing.assert_close(depth(x, BLOCKS), scalars(x, BLOCKS), rtol=1e-12, atol=1e-12)

    def test_queries_are_vectors_for_adam(self):
        roles = parameter_roles(build_model(tiny_config("model/depth=attn_res").model))
        queries = {name: role for name, role in roles.items() if name.startswith("model.depth.")}
        assert queries == {f"model.depth.w{layer}": "scalar" for layer in range(2, L + 2)}
        assert all(p.ndim == 1 for p in AttnRes(tiny_dims(), block_size=1, key_norm=True).parameters())

    @pytest.mark.parametrize("size", [0, 7])
    def test_a_block_of_no_sublayers_or_too_many_is_refused(self, size):
        config = tiny_config("model/depth=attn_res", f"model.depth.block_size={size}")
        with pytest.raises(ConfigError, match=rf"model\.depth\.block_size: cannot be used \({size}\); choose from 1"):
            build_model(config.model)


class TestDenseScalars:
    def test_formula(self):
        depth, x = drawn(DenseScalars(tiny_dims())), normal(2, 5, D)
        v, h = [x], x
        for layer in range(2, L + 2):
            v.append(SUBLAYERS[layer - 2](h))
            h = sum(a * source for a, source in zip(getattr(depth, f"a{layer}"), v, strict=True))
        torch.testing.assert_close(depth(x, BLOCKS), h, rtol=1e-12, atol=1e-12)

    def test_all_ones_are_the_plain_stream_without_mixing(self):
        plain, dense = (tiny_model(tiny_config(f"model/depth={stem}")).double() for stem in ("plain", "dense_scalars"))
        dense.depth.reset_parameters()
        with torch.no_grad():
            for gains in plain.gains:
                gains.resid_mix.copy_(torch.tensor([[1.0], [0.0]]).expand(2, D))
            ids = random_ids(2, 9)
            torch.testing.assert_close(dense.hidden(ids), plain.hidden(ids), rtol=1e-9, atol=1e-9)
            assert logp_of(plain, ids).std() > 0.3


class TestDepthAttention:
    def test_formula(self):
        depth, x = drawn(DepthAttention(tiny_dims(), order=4)), normal(2, 5, D)
        outputs, h = [], x
        for layer, block in enumerate(BLOCKS, 1):
            a = block.attention(h)
            outputs.append(a + block.mlp(h + a))
            h = x + outputs[0]
            if layer > 1:  # three blocks lie at t = -1, 0, 1 and tell P_1 = t and P_2 = (3 t^2 - 1) / 2 apart
                w, c = getattr(depth, f"w{layer}"), getattr(depth, f"c{layer}")
                assert c.shape == (2,)
                bias = [c[0] * t + c[1] * (3 * t * t - 1) / 2 for t in (-1, 0, 1)]
                logits = [(key(d) * w).sum(-1) + bias[i] for i, d in enumerate(outputs)]
                h = x + attended(logits, outputs)
        torch.testing.assert_close(depth(x, BLOCKS), h, rtol=1e-12, atol=1e-12)

    def test_starts_as_the_embedding_plus_the_mean_of_the_outputs(self):
        depth = DepthAttention(tiny_dims(layers=2), order=4).double()
        depth.reset_parameters()
        x, outputs, h = normal(2, 5, D), [], normal(2, 5, D)
        for block in BLOCKS[:2]:
            a = block.attention(h)
            outputs.append(a + block.mlp(h + a))
            h = x + outputs[0]
        torch.testing.assert_close(depth(x, BLOCKS[:2]), x + (outputs[0] + outputs[1]) / 2, rtol=1e-12, atol=1e-12)


def test_a_residual_side_input_goes_into_the_attention_alone():
    one = tiny_model(tiny_config()).double().passes()[1]
    x, side, rotary = normal(2, 5, D), normal(2, 5, D, seed=1), rotary_angles(5, 8, 10000.0, CPU)
    with_side, without = (BoundBlock(one, x, rotary, tensor, None, None) for tensor in (side, None))
    torch.testing.assert_close(with_side.attention(x), without.attention(x + side), rtol=1e-12, atol=0)
    assert torch.equal(with_side.mlp(x), without.mlp(x))
