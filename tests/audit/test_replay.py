"""Test-time training by execution: rounding is not accused, and training on any call of `scored` is found."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from pgolf import audit
from pgolf.audit import replay
from pgolf.audit.report import Verdict

VOCAB, PASS, FAIL, NOT_CHECKED = 16, Verdict.PASS, Verdict.FAIL, Verdict.NOT_CHECKED


def evaluate_by_document(recorder, *, early=(), lr=0.1, narrow_only=False):
    """Scores each document and then trains a table of bigrams on it, or before for the documents in `early`.

    Adding and taking away the length of a document rounds its scores, and a cut makes a document shorter.
    """
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(2, VOCAB, (132,), generator=generator)
    text[::11] = 1
    ids = recorder.tokens(text, VOCAB)
    table = torch.randn(VOCAB, VOCAB, generator=generator).requires_grad_()
    optimizer = torch.optim.SGD([table], lr=lr)
    starts = [*(ids == 1).nonzero().flatten().tolist(), len(ids)]
    for n, (begin, end) in enumerate(itertools.pairwise(starts)):
        if end - begin < 2:
            continue

        def nats(begin=begin, end=end):
            logits = (table[ids[begin : end - 1]] + 5.3 * (end - begin)) - 5.3 * (end - begin)
            assert not (narrow_only and logits.dtype == torch.float64)
            return F.cross_entropy(logits, ids[begin + 1 : end], reduction="none")

        def step(nats=nats):
            optimizer.zero_grad()
            nats().sum().backward()
            optimizer.step()

        if n in early:
            step()
        recorder.scored(range(begin + 1, end), nats())
        recorder.trained(range(begin, end))
        if n not in early:
            step()


def check_of(**options):
    report = audit.score_first(lambda recorder: evaluate_by_document(recorder, **options))
    return report.checks[-1]


def test_rounding_by_other_shapes_is_not_accused():
    check = check_of()
    assert check.verdict == PASS, check.evidence
    assert "which is rounding" in check.evidence
    assert "a cut in 12 of 12 calls" in check.limits


def test_rounding_that_float64_cannot_decide_is_not_checked():
    check = check_of(narrow_only=True)
    assert (check.verdict, "not decided in float64: AssertionError" in check.evidence) == (NOT_CHECKED, True)


@pytest.mark.parametrize("lr", [0.1, 1e-6])
def test_training_before_some_calls_alone_is_found(lr):
    """With the small rate it changes scores by less than rounding does."""
    check = check_of(early=(7,), lr=lr)
    assert check.verdict == FAIL, check.evidence
    assert 77 < check.data["position"] < 88
    assert ("in float64" in check.evidence) == (lr < 1e-3)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 24, 1000])
def test_calls_that_are_cut(count):
    chosen = replay._chosen(count)
    most = replay.MOST_CALLS + replay.DRAWN_CALLS + 1  # the middle one
    assert len(chosen) == count if count <= 24 else count > most >= len(chosen) >= replay.MOST_CALLS + 8
    assert {0, count - 1} <= {n for n, end in chosen.items() if end}
