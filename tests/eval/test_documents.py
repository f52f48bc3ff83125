"""Evaluation of every document by itself: every target once, from its own document alone, in the promised context."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.errors import DataError, OptionError
from pgolf.eval.document_isolated import DocumentIsolated
from pgolf.eval.document_stride import DocumentStride
from pgolf.eval.documents import PerDocument, document_starts, mode_on
from pgolf.eval.score import Batching, score
from pgolf.eval.ttt_lora import TttLora
from pgolf.machine.ranks import Ranks
from tiny import CPU, random_ids, tiny_config, tiny_model

QUICK = settings(max_examples=100, deadline=None, database=None)
BOS = 1
RATES = {"rank": 2, "lr": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-10, "maps": ["q"], "seed": 1}
LIMIT = {"max_targets": None}


def modes(seq_len, stride):
    return [
        (DocumentIsolated(seq_len, **LIMIT), seq_len, seq_len),
        (DocumentStride(seq_len, stride=stride, **LIMIT), stride, seq_len),
        (TttLora(seq_len, chunk=stride, **RATES, **LIMIT), stride, stride),
    ]


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(2, 200))
@QUICK
def test_every_target_once_from_its_own_document(data, seq_len, stride, tokens):
    inner = data.draw(st.lists(st.integers(1, tokens - 1), unique=True, max_size=6).map(sorted))
    limit = data.draw(st.integers(1, tokens) | st.none())
    for mode, size, first in modes(seq_len, min(stride, seq_len)):
        mode.max_targets = limit
        windows = PerDocument(mode, [0, *inner]).windows(tokens - 1)
        targets = [i for w in windows for i in range(w.scored, w.stop)]
        assert targets == list(range(min(tokens - 1, limit or tokens)))
        for w in windows:
            start = max(s for s in [0, *inner] if s <= w.scored)
            assert start <= w.start <= w.scored < w.stop
            assert w.stop <= min([s for s in inner if s > w.scored], default=tokens)
            assert w.stop - w.start <= seq_len
            assert w.stop - w.scored <= (first if w.scored == start else size)
            if not isinstance(mode, DocumentIsolated):  # context that is there is used, up to the step to a full window
                assert w.scored - w.start >= min(w.scored - start, seq_len - size)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 90), st.integers(1, 90))
@QUICK
def test_the_context_of_a_target_does_not_depend_on_the_end_of_its_document(seq_len, stride, short, more):
    for mode, *_ in modes(seq_len, min(stride, seq_len)):
        contexts = [
            {i: w.start for w in mode.document_windows(length) for i in range(w.scored, w.stop)}
            for length in (short, short + more)
        ]
        assert contexts[0].items() <= contexts[1].items()


def test_documents_begin_at_their_start_token_or_with_the_text():
    assert document_starts(np.array([BOS, 5, BOS, BOS, 4]), BOS) == [0, 2, 3]
    assert document_starts(np.array([5, BOS, 4]), BOS) == [0, 1]
    spans = PerDocument(DocumentIsolated(8, **LIMIT), [0, 2, 3]).documents(3)
    assert [(d.start, d.stop) for d in spans] == [(0, 2), (2, 3)]  # the last token begins a document without targets


@pytest.mark.parametrize("mode", [mode for mode, *_ in modes(16, 4)], ids=lambda mode: type(mode).__name__)
def test_a_text_without_documents_is_refused(mode):
    corpus = SimpleNamespace(val_tokens=np.array([5, 4, 3]), document_start=BOS)
    with pytest.raises(DataError, match=r"eval: .*none of the 3 validation tokens .*token 1\)\. Use eval=plain"):
        mode_on(mode, corpus)


@pytest.mark.parametrize("bad", [{"stride": 0}, {"stride": 17}, {"max_targets": 0}])
def test_sizes_that_cannot_be_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        DocumentStride(16, **{"stride": 4, "max_targets": None, **bad})
    with pytest.raises(OptionError, match="max_targets"):
        DocumentIsolated(16, max_targets=0)


def test_names_tell_modes_apart():
    names = [mode.name for seq_len in (16, 32) for stride in (4, 8) for mode, *_ in modes(seq_len, stride)]
    assert len(set(names)) == len(names) - 2  # isolated has no stride
    assert DocumentIsolated(16, max_targets=9).name not in names


TOKENS = random_ids(1, 61, seed=11)[0].clamp(min=BOS + 1)
TOKENS[[0, 23, 24, 51]] = BOS


@pytest.mark.parametrize("mode", [mode for mode, *_ in modes(16, 5)[:2]], ids=lambda mode: mode.name)
@torch.no_grad()
def test_scores_are_those_of_single_targets(mode):
    model = tiny_model(tiny_config()).double().eval()  # contexts of 16 tokens
    plan = PerDocument(mode, [0, 23, 24, 51])
    sizes = np.ones(60, dtype=np.int64)
    actual = score(model, TOKENS.numpy().astype(np.uint16), sizes, plan, Batching(CPU, 48, Ranks()))
    expected = []
    for i in range(60):
        start = max(s for s in plan.starts if s <= i)
        at, step = i - start, 16 if isinstance(mode, DocumentIsolated) else 5
        steps = max(0, -(-(at - 15) // step))
        context = TOKENS[start + steps * step : i + 1][None]
        expected.append(-float(model.head.logp(model.hidden(context))[0, -1, TOKENS[i + 1]]))
    np.testing.assert_allclose(actual.nats_per_target, expected, rtol=1e-5, atol=1e-5)
