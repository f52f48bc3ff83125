"""Each complete stack against its formulas in float64, with all weights redrawn."""

import pytest
import torch
from formula import logp

from tiny import STACKS, logp_of, random_ids, stack_config, tiny_model


def both(stack: str, *overrides: str) -> tuple[torch.Tensor, torch.Tensor]:
    config = stack_config(stack, *overrides)
    model = tiny_model(config)
    ids = random_ids(1, 9, seed=4)
    with torch.no_grad():
        actual = logp_of(model, ids)[0].double()
    return actual, logp(ids[0].tolist(), model.state_dict(), config.model)


@pytest.mark.parametrize("stack", STACKS)
def test_the_whole_model_is_the_formula(stack):
    actual, expected = both(stack)
    torch.testing.assert_close(actual, expected, rtol=3e-4, atol=3e-4)
    assert expected.std() > 0.3


@pytest.mark.parametrize(
    ("stack", "overrides"),
    [
        ("pr470", ("model.unique_blocks=2",)),
        ("pr470", ("model/side_inputs=[bigram_embed,bigram_residual,value_embedding]", "model.smear_gate=true")),
        ("pr908", ("model.unique_blocks=1", "model.rotary_dims=8")),
        ("pr908", ("model.heads=4", "model.kv_heads=4", "model.rotary_dims=8", "model.xsa_last_n=2")),
        ("pr908", ("model/q_proj=low_rank", "model/embedding=albert", "model/side_inputs=[value_embedding]")),
    ],
    ids=str,
)
def test_features_combine(stack, overrides):
    actual, expected = both(stack, *overrides)
    torch.testing.assert_close(actual, expected, rtol=3e-4, atol=3e-4)
