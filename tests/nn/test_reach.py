"""The last positions alone, and attention that reaches so far back: equal to a loop over queries, in every variant."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf import audit
from pgolf.nn import attention
from tiny import ALL_VARIANTS, STACKS, random_ids, stack_config, tiny_config, tiny_model

QUICK = settings(max_examples=150, deadline=None, database=None)
EVERY = [(f"stack={stack}", stack_config(stack)) for stack in STACKS] + [(v, tiny_config(v)) for v in ALL_VARIANTS]
EVERY += [
    (
        "all side inputs, one core, rotation of some dims",
        stack_config(
            "pr908",
            "model/side_inputs=[bigram_embed,bigram_residual,value_embedding]",
            "model.unique_blocks=1",
            "model.xsa_last_n=5",
        ),
    )
]
every_model = pytest.mark.parametrize("config", [config for _, config in EVERY], ids=[name for name, _ in EVERY])


def one_query_at_a_time(q_BHSK, k_BGTK, v_BGTK, reach):
    """Attention by a loop over positions, each over the keys that a cache of `reach` keys holds then."""
    time, queries = k_BGTK.size(2), q_BHSK.size(2)
    shared = q_BHSK.size(1) // k_BGTK.size(1)
    k, v = (x.repeat_interleave(shared, dim=1) for x in (k_BGTK, v_BGTK))
    rows = []
    for s, t in enumerate(range(time - queries, time)):
        first = 0 if reach is None else max(0, t + 1 - reach)
        scores = (q_BHSK[:, :, s, None] * k[:, :, first : t + 1]).sum(-1) / q_BHSK.size(-1) ** 0.5
        rows.append((scores.softmax(-1)[..., None] * v[:, :, first : t + 1]).sum(2))
    return torch.stack(rows, 2)


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 70) | st.none(),
    st.sampled_from([1, 3, 8]),
    st.integers(1, 3),
)
@QUICK
def test_attention_equals_a_loop_over_queries(time, queries, reach, block, batch):
    generator, queries = torch.Generator().manual_seed(time), min(time, queries)
    q, k, v = (
        torch.randn(batch, time, heads, 8, generator=generator, dtype=torch.float64).transpose(1, 2)[:, :, -n:]
        for heads, n in ((4, queries), (2, time), (2, time))
    )
    before, attention.QUERY_BLOCK = attention.QUERY_BLOCK, block
    try:
        actual = attention.causal_attention(q, k, v, reach)
    finally:
        attention.QUERY_BLOCK = before
    torch.testing.assert_close(actual, one_query_at_a_time(q, k, v, reach), rtol=1e-10, atol=1e-10)


@every_model
@torch.no_grad()
def test_every_model_equals_itself_with_a_cache_of_keys(config, monkeypatch):
    model, ids, targets = tiny_model(config).eval(), random_ids(2, 75), random_ids(2, 41, seed=1)
    monkeypatch.setattr(attention, "QUERY_BLOCK", 7)
    actual, far = model(ids, targets, 12), model(ids, targets)
    monkeypatch.setattr(attention, "causal_attention", one_query_at_a_time)
    torch.testing.assert_close(actual, model(ids, targets, 12), rtol=1e-4, atol=1e-4)
    assert (actual - far).abs().max() > 1e-2  # the limit matters


@every_model
@torch.no_grad()
def test_the_last_positions_alone_equal_those_of_all(config):
    """Exact sliding evaluation computes the last block for the scored positions only."""
    model, ids = tiny_model(config).eval(), random_ids(3, 16)
    for last in (1, 5, 15):
        torch.testing.assert_close(model.hidden(ids, last=last), model.hidden(ids)[:, -last:], rtol=1e-4, atol=1e-4)
    assert torch.equal(model.hidden(ids, last=16), model.hidden(ids))


def test_a_depth_that_returns_other_positions_is_stopped():
    model = tiny_model(tiny_config())
    model.depth.forward = lambda x_BTD, blocks: x_BTD + 0 * blocks[-1](x_BTD)
    with pytest.raises(AssertionError, match="depth: 16 positions, 1 expected"):
        model.hidden(random_ids(1, 16), last=1)


@torch.no_grad()
def test_a_position_reaches_so_far_and_no_farther():
    model = tiny_model(tiny_config("model.layers=1", "model/depth=plain")).eval()
    ids = random_ids(1, 60)
    before = model.hidden(ids, reach=10)[0]
    for changed in (0, 17, 40):
        other = ids.clone()
        other[0, changed] = (ids[0, changed] + 1) % 23
        moved = (model.hidden(other, reach=10)[0] != before).any(-1).nonzero().flatten().tolist()
        assert moved == list(range(changed, changed + 10))


def test_the_audit_finds_no_later_token():
    model = tiny_model(stack_config("pr908")).eval()

    def logp(ids):
        return model.head.logp(model.hidden(ids, reach=12))

    report = audit.model(logp, vocab_size=23, model=model, lengths=(48,), redraws=1)
    causality = [check for check in report.checks if check.rule == "causality"]
    assert {check.verdict for check in causality} == {audit.Verdict.PASS}, causality


@pytest.mark.parametrize("variant", [v for v in ALL_VARIANTS if v.startswith(("model/q_proj", "model/mlp"))])
@torch.no_grad()
def test_parts_that_the_last_block_cuts_short_work_position_by_position(variant):
    model = tiny_model(tiny_config(variant)).eval()
    x = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(1))
    for part in (*model.q_proj, *model.mlp):
        torch.testing.assert_close(part(x[:, -5:]), part(x)[:, -5:], rtol=1e-5, atol=1e-5)
