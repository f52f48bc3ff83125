"""Rolling evaluation: every target once, after a whole context, and equal to the score of that target by itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.config.build import build_evaluation
from pgolf.errors import OptionError
from pgolf.eval.rolling import Rolling
from pgolf.eval.score import Batching, score
from pgolf.machine.ranks import Ranks
from tiny import CPU, logp_of, random_ids, tiny_config, tiny_model

QUICK = settings(max_examples=150, deadline=None, database=None)


def rolling(**changes):
    return Rolling(16, **{"reach_share": 0.75, "segment": 2, "max_targets": None, **changes})


class TestWindows:
    @given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 5), st.integers(1, 500) | st.none())
    @QUICK
    def test_every_target_once_after_a_whole_context(self, targets, seq_len, segment, limit):
        windows = Rolling(seq_len, reach_share=0.5, segment=segment, max_targets=limit).windows(targets)
        assert [i for w in windows for i in range(w.scored, w.stop)] == list(range(min(targets, limit or targets)))
        assert all(w.start == 0 or w.scored - w.start >= seq_len - 1 for w in windows)
        assert all(w.stop - w.start == windows[0].stop for w in windows)
        assert windows[0].stop <= seq_len - 1 + segment * seq_len

    def test_names_tell_modes_apart(self):
        modes = [rolling(), rolling(segment=3), rolling(reach_share=0.5), rolling(max_targets=9)]
        assert len({mode.name for mode in modes}) == len(modes)
        assert [mode.reach for mode in modes] == [12, 12, 8, 12]
        assert Rolling(16, reach_share=0.01, segment=1, max_targets=None).reach == 1

    @pytest.mark.parametrize("bad", [{"segment": 0}, {"max_targets": 0}, {"reach_share": 0.0}, {"reach_share": 1.1}])
    def test_sizes_that_cannot_be_are_refused(self, bad):
        with pytest.raises(OptionError, match=next(iter(bad))):
            rolling(**bad)


N = 151
TOKENS = random_ids(1, N, seed=11)[0]
MODEL = tiny_model(tiny_config()).double().eval()  # contexts of 16 tokens


def run(mode, tokens=TOKENS, batch_tokens=100):
    def nll(ids, targets):
        return MODEL(ids, targets, mode.reach)

    sizes = np.ones(N - 1, dtype=np.int64)
    return score(nll, tokens.numpy().astype(np.uint16), sizes, mode, Batching(CPU, batch_tokens, Ranks()))


@torch.no_grad()
def test_scores_are_those_of_single_targets():
    """Each target by itself: the model over its segment up to the target, all keys beyond the reach hidden."""
    expected = []
    for i in range(N - 1):
        start = 0 if i < 47 else min(32 * ((i - 47) // 32 + 1), N - 1 - 47)
        states = MODEL.hidden(TOKENS[start : i + 1][None], reach=12)
        expected.append(-float(MODEL.head.logp(states)[0, -1, TOKENS[i + 1]]))
    np.testing.assert_allclose(run(rolling()).nats_per_target, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 47, 94, 10_000])
def test_the_batch_does_not_change_the_score(batch_tokens):
    np.testing.assert_allclose(
        run(rolling(), batch_tokens=batch_tokens).nats_per_target, run(rolling()).nats_per_target, rtol=1e-6
    )


@pytest.mark.parametrize("changed", [30, 90, N - 1])
def test_later_tokens_change_no_earlier_score(changed):
    other = TOKENS.clone()
    other[changed:] = (other[changed:] + 1) % 23
    before, after = run(rolling()).nats_per_target, run(rolling(), tokens=other).nats_per_target
    assert np.array_equal(before[: changed - 1], after[: changed - 1])
    assert before[changed - 1] != after[changed - 1]


def evaluation_of(*overrides):
    table = SimpleNamespace(bytes_per_target=lambda tokens: np.ones(len(tokens) - 1, dtype=np.int64))
    corpus = SimpleNamespace(val_tokens=TOKENS.numpy().astype(np.uint16), byte_table=table)
    return build_evaluation(tiny_config(*overrides), corpus, Ranks())


def test_the_evaluation_passes_the_reach_on():
    evaluation = evaluation_of("eval=rolling", "eval.segment=2")
    assert evaluation.mode.reach == 14
    expected = run(rolling(reach_share=0.875)).nats_per_target
    np.testing.assert_allclose(evaluation(MODEL).nats_per_target, expected, rtol=1e-6)
    assert abs(expected - run(rolling(reach_share=0.5)).nats_per_target).max() > 1e-3


def test_short_texts_are_one_ordinary_window():
    short = TOKENS[:12]
    sizes = np.ones(11, dtype=np.int64)
    batching = Batching(CPU, 100, Ranks())
    actual = score(MODEL, short.numpy().astype(np.uint16), sizes, rolling(), batching)
    with torch.no_grad():
        expected = -logp_of(MODEL, short[None, :-1])[0].gather(1, short[1:, None])[:, 0]
    np.testing.assert_allclose(actual.nats_per_target, expected.double().numpy(), rtol=1e-6)
