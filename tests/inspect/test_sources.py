"""Whether attention over depth uses a source: scores without it."""

import pytest
import torch

from pgolf.inspect.sources import looking, mean_weights, sources, without
from pgolf.nn.depth_sources import attention_weights
from pgolf.nn.gpt import GPT
from tiny import random_ids, tiny_config, tiny_model

IDS = random_ids(2, 12)


@torch.no_grad()
def loss(model: GPT) -> float:
    return float(model(IDS[:, :-1], IDS[:, 1:]).mean())


def test_without_a_source_a_softmax_is_that_of_the_others() -> None:
    logits = [torch.randn(2, 3, dtype=torch.float64) for _ in range(4)]
    left = without(2, {5}, is_mean=True)(5, attention_weights(logits))
    expected = attention_weights([logits[0], logits[1], logits[3]])
    torch.testing.assert_close([left[0], left[1], left[3]], expected)
    assert not left[2].any()
    assert without(2, {5}, is_mean=True)(4, logits) == logits, "another reader keeps it"


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
    with looking(model.depth, without(0, set(weights[0]), is_mean=True)):  # type: ignore[arg-type]
        assert loss(model) != before
    assert loss(model) == before


def test_a_model_without_attention_over_depth_has_no_sources() -> None:
    model = tiny_model(tiny_config("model/depth=unet"))
    assert sources(model, loss(model), loss, IDS) is None
