"""Side inputs: hashes as exact integers, sites, learned weights, and the contract of each."""

import pytest
import torch

from pgolf.config.binding import bind
from pgolf.config.build import build_model, make
from pgolf.errors import ConfigError
from pgolf.nn.side_inputs.bigram_embed import BigramEmbed
from pgolf.nn.side_inputs.bigram_residual import BigramResidual
from pgolf.nn.side_inputs.value_embedding import ValueEmbedding
from pgolf.optim.roles import parameter_roles
from tiny import leaks, logp_of, random_ids, redraw, stems, tiny_config, tiny_dims, tiny_model

SIDES = stems("model/side_inputs")


def with_sides(*names: str, overrides: tuple[str, ...] = ()) -> dict:
    return tiny_config(f"model/side_inputs=[{','.join(names)}]", *overrides)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_yamls_are_found():
    assert {"bigram_embed", "bigram_residual", "value_embedding"} <= set(SIDES)


class TestHashes:
    IDS = (5, 7, 1023, 1023, 0, 1)

    def test_bigram_embed_by_hand(self):
        """(1619 prev + cur) mod 4096, prev_0 = 0: 5; 8,095 + 7 - 4,096; 11,333 + 1,023 - 3 x 4,096; 1,656,237 + 1,023 -
        404 x 4,096; ...
        """
        side = BigramEmbed(tiny_dims(), buckets=4096)
        assert side.bucket(torch.tensor([self.IDS])).tolist() == [[5, 4006, 68, 2476, 1453, 1]]

    def test_bigram_residual_by_hand(self):
        """((36313 cur) xor (27191 prev)) mod 2047: 254,191 xor 135,955 = 127,996 = 62 x 2,047 + 1,082; ..."""
        side = BigramResidual(tiny_dims(), buckets=2048, rank=4, lambda_init=0.05)
        assert side.bucket(torch.tensor([self.IDS])).tolist() == [[2047, 1082, 53, 977, 1757, 1514]]

    @pytest.mark.parametrize("vocab", [1024, 50_000])
    def test_against_python_integers(self, vocab):
        ids = random_ids(3, 200, vocab, seed=7)
        embed, residual = (
            BigramEmbed(tiny_dims(), buckets=4096),
            BigramResidual(tiny_dims(), buckets=2048, rank=4, lambda_init=0.05),
        )
        for row, first, second in zip(
            ids.tolist(), embed.bucket(ids).tolist(), residual.bucket(ids).tolist(), strict=True
        ):
            assert first == [(1619 * (row[t - 1] if t else 0) + row[t]) % 4096 for t in range(200)]
            assert second == [((36313 * row[t]) ^ (27191 * row[t - 1])) % 2047 if t else 2047 for t in range(200)]

    def test_the_sentinel_marks_the_first_position_alone(self):
        side = BigramResidual(tiny_dims(), buckets=2048, rank=4, lambda_init=0.05)
        buckets = side.bucket(random_ids(50, 60, 1024))
        assert bool((buckets[:, 0] == 2047).all())
        assert int(buckets[:, 1:].max()) < 2047

    def test_loads_of_the_published_hashes(self):
        """All 1,048,576 pairs: 254 to 260 per bucket with one hash, 442 to 591 with the other."""
        previous, current = torch.meshgrid(torch.arange(1024), torch.arange(1024), indexing="ij")
        pairs = torch.stack([previous.flatten(), current.flatten()], 1)
        loads = BigramEmbed(tiny_dims(), buckets=4096).bucket(pairs)[:, 1].bincount(minlength=4096)
        assert (int(loads.min()), int(loads.max())) == (254, 260)
        loads = (
            BigramResidual(tiny_dims(), buckets=2048, rank=4, lambda_init=0.05)
            .bucket(pairs)[:, 1]
            .bincount(minlength=2048)[:2047]
        )
        assert (int(loads.min()), int(loads.max())) == (442, 591)

    def test_they_stay_within_the_table_at_any_size(self):
        ids = random_ids(4, 50, 1024)
        for buckets in (2, 3, 7):
            side = BigramResidual(tiny_dims(), buckets=buckets, rank=4, lambda_init=0.05)
            assert set(side.bucket(ids).unique().tolist()) <= set(range(buckets))


class TestTensors:
    def test_bigram_embed_looks_rows_up(self):
        side = BigramEmbed(tiny_dims(), buckets=64)
        redraw(side, 1)
        ids = random_ids(2, 9)
        assert side(ids).shape == (2, 9, 32)
        assert torch.equal(side(ids)[1, 4], side.table.weight[(1619 * int(ids[1, 3]) + int(ids[1, 4])) % 64])
        assert float(side.gain(0)) == 1.0

    def test_bigram_residual_projects_rows(self):
        side = BigramResidual(tiny_dims(), buckets=64, rank=5, lambda_init=0.05).double()
        redraw(side, 1)
        ids = random_ids(2, 9)
        row = side.table.weight[((36313 * int(ids[1, 4])) ^ (27191 * int(ids[1, 3]))) % 63]
        torch.testing.assert_close(side(ids)[1, 4], side.projection.weight @ row, rtol=1e-12, atol=1e-12)
        assert [side.gain(i).detach().item() for i in range(3)] == side.lambdas.tolist()
        assert side.layers == (0, 1, 2)

    def test_value_embedding_projects_and_scales(self):
        side = ValueEmbedding(tiny_dims(layers=5), rank=6, layers=[-2, -1], init_std=0.01, scale_init=0.1).double()
        redraw(side, 1)
        ids = random_ids(2, 9)
        want = side.scale * (side.projection.weight @ side.table.weight[int(ids[1, 4])])
        assert side(ids).shape == (2, 9, 16)  # two value heads of eight
        torch.testing.assert_close(side(ids)[1, 4], want, rtol=1e-12, atol=1e-12)
        assert side.layers == (3, 4)
        assert [side.gain(i).detach().item() for i in (3, 4)] == side.layer_scales.tolist()

    def test_layers_are_counted_from_either_end_and_named_once(self):
        values = ValueEmbedding(tiny_dims(layers=5), rank=6, layers=[0, -1, 4], init_std=0.01, scale_init=0.1)
        assert values.layers == (0, 4)
        assert values.layer_scales.shape == (2,)


class TestStart:
    @torch.no_grad()
    def test_tables_weights_and_scales(self):
        model = tiny_model(with_sides(*SIDES, overrides=("model.vocab_size=500",)), seed=None)
        embed, residual, value = (
            model.side_inputs[name] for name in ("bigram_embed", "bigram_residual", "value_embedding")
        )
        assert not bool(embed.table.weight.any())
        assert not bool(residual.table.weight.any())
        assert bool((residual.lambdas == 0.05).all())
        assert residual.projection.weight.abs().max() <= residual.projection.in_features**-0.5
        assert residual.projection.weight.std() > 0.1
        assert float(value.table.weight.std()) == pytest.approx(0.01, rel=0.05)
        assert value.scale.detach().item() == pytest.approx(0.1)
        assert bool((value.layer_scales == 1).all())
        assert value.projection.weight.abs().max() <= value.projection.in_features**-0.5

    @pytest.mark.parametrize("name", ["bigram_embed", "bigram_residual"])
    def test_a_bigram_table_of_zeros_has_the_effect_of_no_side_input(self, name):
        with_it, without = tiny_model(with_sides(name)), tiny_model(tiny_config())
        with torch.no_grad():
            with_it.side_inputs[name].table.weight.zero_()
            ids = random_ids(2, 10)
            assert torch.equal(logp_of(with_it, ids), logp_of(without, ids))

    def test_a_value_embedding_of_scale_zero_has_the_effect_of_no_side_input(self):
        with_it, without = tiny_model(with_sides("value_embedding")), tiny_model(tiny_config())
        with torch.no_grad():
            with_it.side_inputs["value_embedding"].scale.zero_()
            ids = random_ids(2, 10)
            assert torch.equal(logp_of(with_it, ids), logp_of(without, ids))


@pytest.mark.parametrize("name", SIDES)
class TestContract:
    def test_keys_bind(self, name):
        assert bind(f"model.side_inputs.{name}", with_sides(name).model.side_inputs[name]) == []

    def test_sees_no_later_token(self, name):
        assert leaks(tiny_model(with_sides(name))) == []

    def test_every_parameter_has_a_role_a_gradient_and_an_effect(self, name):
        model, ids = tiny_model(with_sides(name)), random_ids(4, 16)
        own = [f"side_inputs.{name}.{key}" for key, _ in model.side_inputs[name].named_parameters()]
        assert {f"model.{key}" for key in own} <= set(parameter_roles(model))
        model(ids, random_ids(4, 16, seed=1)).mean().backward()
        tensors = dict(model.named_parameters())
        assert all(bool(tensors[key].grad.any()) for key in own)
        with torch.no_grad():
            before = logp_of(model, ids)
            for key in own:
                backup = tensors[key].clone()
                tensors[key].mul_(1.5)
                assert not torch.allclose(logp_of(model, ids), before, atol=1e-6), key
                tensors[key].copy_(backup)

    def test_stands_beside_the_others_whatever_the_order(self, name):
        others = [other for other in SIDES if other != name]
        one, two = with_sides(name, *others), with_sides(*others, name)
        ids = random_ids(2, 10)
        with torch.no_grad():
            assert torch.equal(logp_of(tiny_model(one), ids), logp_of(tiny_model(two), ids))
        assert leaks(tiny_model(one)) == []


def test_roles_decide_which_optimizer_trains_what():
    roles = parameter_roles(build_model(with_sides(*SIDES).model))
    mine = {name.removeprefix("model.side_inputs."): role for name, role in roles.items() if ".side_inputs." in name}
    assert mine == {
        "bigram_embed.table.weight": "embedding",
        "bigram_residual.table.weight": "embedding",
        "bigram_residual.projection.weight": "matrix",
        "bigram_residual.lambdas": "scalar",
        "value_embedding.table.weight": "embedding",
        "value_embedding.projection.weight": "matrix",
        "value_embedding.scale": "scalar",
        "value_embedding.layer_scales": "scalar",
    }


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("bigram_embed", "buckets", 0),
        ("bigram_residual", "buckets", 1),
        ("bigram_residual", "rank", 33),
        ("value_embedding", "rank", 0),
        ("value_embedding", "layers", []),
        ("value_embedding", "layers", [3]),
        ("value_embedding", "layers", [-4]),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused_under_their_path(name, key, value):
    node = {**with_sides(name).model.side_inputs[name], key: value}
    with pytest.raises(ConfigError, match=rf"model\.side_inputs\.{name}\.{key}: cannot be used"):
        make(f"model.side_inputs.{name}", node, tiny_dims())
