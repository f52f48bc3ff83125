"""Whether attention over depth uses a source: scores without it."""

import pytest
import torch

from pgolf.inspect.sources import mean_weights, sources, without
from pgolf.nn.depth.attn_res import AttnRes
from pgolf.nn.depth_sources import SourceReader, attention_weights, weighted_sum
from pgolf.nn.gpt import GPT
from pgolf.nn.primitives import rms_norm
from tiny import random_ids, tiny_config, tiny_dims, tiny_model

IDS = random_ids(2, 12)


@torch.no_grad()
def loss(model: GPT) -> float:
    return float(model(IDS[:, :-1], IDS[:, 1:]).mean())


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_without_a_source_a_softmax_is_that_of_the_others(size: float) -> None:
    """Also where the source has the whole weight, so that nothing of the others is left in float32."""
    depth, sources_BTD = SourceReader(), [torch.randn(2, 3, 8) for _ in range(4)]
    logits = [torch.randn(2, 3) for _ in range(4)]
    logits[2] += size
    others = [0, 1, 3]
    expected = weighted_sum(attention_weights([logits[i] for i in others]), [sources_BTD[i] for i in others])
    whole = depth.attend(4, logits, sources_BTD)
    with without(depth, 2, {5}):
        torch.testing.assert_close(depth.attend(5, logits, sources_BTD), expected)
        assert torch.equal(depth.attend(4, logits, sources_BTD), whole), "another reader keeps it"
    assert torch.equal(depth.attend(5, logits, sources_BTD), whole)


def test_a_block_of_depth_attention_is_removed_from_all_its_readers() -> None:
    """Without block 0, h_1 is the embedding alone. The embedding itself is not a source and stays."""
    model = tiny_model(tiny_config("model/depth=depth_attention", "model.layers=1"))
    found = sources(model, loss(model), loss, IDS)
    assert found is not None
    assert [(s.name, s.readers, s.weight, s.later_bpb) for s in found.sources] == [("block 0", 1, 1.0, None)]
    assert "embedding" in found.kept
    with torch.no_grad():
        embedding = model.head.nll(rms_norm(rms_norm(model.embedding(IDS[:, :-1]))), IDS[:, 1:])
    assert found.sources[0].removed_bpb == pytest.approx(float(embedding.mean()), rel=1e-5)
    deep = tiny_model(tiny_config("model/depth=depth_attention"))
    assert {s: len(w) for s, w in mean_weights(deep, deep.depth, IDS).items()} == {0: 3, 1: 2, 2: 1}  # type: ignore[arg-type]


def test_sources_have_names() -> None:
    """With three layers and blocks of four sublayers, the second block has two."""
    depth = AttnRes(tiny_dims(), block_size=4, key_norm=True)
    assert [depth.source_name(i) for i in range(3)] == ["embedding", "attention 0 to MLP 1", "attention 2 to MLP 2"]
    names = [AttnRes(tiny_dims(), block_size=1, key_norm=True).source_name(i) for i in (0, 1, 2, 6)]
    assert names == ["embedding", "attention 0", "MLP 0", "MLP 2"]


def test_a_removed_scalar_scores_as_one_that_is_zero() -> None:
    model = tiny_model(tiny_config("model/depth=dense_scalars"))
    found = sources(model, loss(model), loss, IDS)
    assert found is not None
    assert found.bpb == loss(model)
    assert [source.readers for source in found.sources] == [6, 6, 5, 4, 3, 2, 1]
    with torch.no_grad():
        for weights in list(model.depth.parameters())[2:]:
            weights[2] = 0
        assert found.sources[2].later_bpb == loss(model)
        list(model.depth.parameters())[1][2] = 0
        assert found.sources[2].removed_bpb == loss(model)
    assert found.sources[-1].later_bpb is None


@pytest.mark.parametrize("choice", ["attn_res", "depth_attention"])
def test_mean_weights_of_a_reader_add_up_to_one(choice: str) -> None:
    model = tiny_model(tiny_config(f"model/depth={choice}"))
    weights = mean_weights(model, model.depth, IDS)  # type: ignore[arg-type]
    for reader in {reader for of_source in weights.values() for reader in of_source}:
        assert sum(of_source.get(reader, 0) for of_source in weights.values()) == pytest.approx(1, abs=1e-6)
    before = loss(model)
    with without(model.depth, 0, set(weights[0])):  # type: ignore[arg-type]
        assert loss(model) != before
    assert loss(model) == before


def test_a_model_without_attention_over_depth_has_no_sources() -> None:
    model = tiny_model(tiny_config("model/depth=unet"))
    assert sources(model, loss(model), loss, IDS) is None
