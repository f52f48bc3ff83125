"""Attention that reaches so far back and no farther: equal to a loop over queries, in every variant."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf import audit
from pgolf.config.schema import Config
from pgolf.nn import attention
from tiny import ALL_VARIANTS, STACKS, random_ids, stack_config, tiny_config, tiny_model

QUICK = settings(max_examples=150, deadline=None, database=None)
ALL_AT_ONCE = (
    "model/side_inputs=[bigram_embed,bigram_residual,value_embedding]",
    "model.unique_blocks=1",
    "model.xsa_last_n=5",
)
EVERY = {
    **{f"stack={stack}": partial(stack_config, stack) for stack in STACKS},
    **{variant: partial(tiny_config, variant) for variant in ALL_VARIANTS},
    "all side inputs, one core, rotation of some dims": partial(stack_config, "pr908", *ALL_AT_ONCE),
}
every_model = pytest.mark.parametrize("config", EVERY.values(), ids=EVERY, indirect=True)


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    return request.param()


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
