"""Intervals over documents: their coverage, their agreement with a bootstrap, and when there is none."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pgolf.records.documents import DocumentScores
from pgolf.tables.stats import TTest, paired, welch
from pgolf.tables.texts import (
    combined,
    degrees_of_freedom,
    document_test,
    largest_changes,
    mean_documents,
    quarters,
    text_difference,
    text_refusal,
)

GAP = 0.02  # bpb


def pair(
    seed: int, documents: int, *, spread: float = 1.0, by_length: float = 0.0
) -> tuple[DocumentScores, DocumentScores]:
    """Scores of an arm and its baseline, whose difference per document is GAP plus noise. Lengths are log-normal.

    spread: of the logarithms of the lengths. by_length: the change of the difference per unit of these.
    """
    draw = np.random.default_rng(seed)
    logs = draw.normal(7, spread, documents)
    sizes = np.maximum(50, np.exp(logs)).astype(np.int64)
    base = draw.normal(2, 0.3, documents)
    noise = draw.normal(0, 0.05, documents) + draw.normal(0, 1, documents) / np.sqrt(sizes)
    # A mean over bytes draws lengths by their size: the mean of a log-normal's logarithm is then larger by spread^2.
    gap = GAP + by_length * (logs - 7 - spread**2) + noise
    nats = [bpb * sizes * math.log(2) for bpb in (base + gap, base)]
    return DocumentScores(nats[0], sizes, False, False), DocumentScores(nats[1], sizes, False, False)


@pytest.mark.parametrize("spread", [0.7, 1.5])
@pytest.mark.parametrize(("documents", "times"), [(20, 1500), (100, 1500), (1000, 500)])
def test_the_interval_covers_the_difference_with_heavy_tailed_lengths(
    documents: int, times: int, spread: float
) -> None:
    tests = [document_test(*pair(seed, documents, spread=spread)) for seed in range(times)]
    made = [t for t in tests if t.low is not None and t.high is not None]
    covered = np.mean([t.low <= GAP <= t.high for t in made])  # type: ignore[operator]
    error = math.sqrt(0.05 * 0.95 / len(made))
    assert abs(covered - 0.95) < 3.5 * error, f"{covered:.3f} of {len(made)}"
    assert len(made) > (0.99 if spread < 1 else 0.65) * times


def test_an_effect_of_length_costs_little_coverage() -> None:
    tests = [document_test(*pair(seed, 100, spread=0.7, by_length=0.02)) for seed in range(1000)]
    assert np.mean([t.low <= GAP <= t.high for t in tests]) > 0.92  # type: ignore[operator]


def test_it_agrees_with_a_bootstrap_over_documents() -> None:
    a, b = pair(5, 400, by_length=0.02)
    test = document_test(a, b)
    draws = np.random.default_rng(1).integers(0, 400, (4000, 400))
    scores = [x.nats[draws].sum(1) / (math.log(2) * x.sizes[draws].sum(1)) for x in (a, b)]
    differences = scores[0] - scores[1]
    assert test.error == pytest.approx(differences.std(), rel=0.08)
    low, high = np.quantile(differences, [0.025, 0.975])
    assert (test.low, test.high) == (
        pytest.approx(low, abs=0.2 * test.error),
        pytest.approx(high, abs=0.2 * test.error),
    )


def test_equal_lengths_give_the_paired_t_test() -> None:
    sizes = np.full(30, 700)
    draw = np.random.default_rng(0)
    nats = draw.normal(900, 40, (2, 30))
    a, b = (DocumentScores(x, sizes, False, False) for x in nats)
    expected, found = paired(*(x / (math.log(2) * 700) for x in nats)), document_test(a, b)  # type: ignore[arg-type]
    for key in ("difference", "low", "high", "p", "df"):
        assert getattr(found, key) == pytest.approx(getattr(expected, key), rel=1e-9), key


def test_pairing_takes_the_difficulty_of_a_document_out() -> None:
    a, b = pair(3, 200)
    other = np.random.default_rng(0).permutation(200)
    shuffled = DocumentScores(b.nats[other] / b.sizes[other] * b.sizes, b.sizes, False, False)
    paired_error, error = document_test(a, b).error, document_test(a, shuffled).error
    assert paired_error is not None
    assert error is not None
    assert paired_error < error / 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: DocumentScores(s.nats[:19], s.sizes[:19], False, False), "no interval: 19 documents, 20 needed"),
        (lambda s: replace(s, sizes=np.where(np.arange(40) == 7, 10**7, s.sizes)), "the longest document has"),
    ],
)
def test_too_little_text_gives_no_interval(change, reason) -> None:
    a, b = (change(x) for x in pair(1, 40))
    test = document_test(a, b)
    assert reason in (test.reason or "")
    assert test.low is None
    assert test.difference is not None
    assert quarters(a, b) == largest_changes(a, b) == []


def test_other_documents_are_not_compared_but_a_cut_one_may_be_longer() -> None:
    a, b = pair(1, 40)
    longer = np.where(np.arange(40) == 39, b.sizes + 500, b.sizes)
    assert document_test(a, replace(b, sizes=longer)).reason == (
        f"other documents: document 40 has {a.sizes[-1]:,} and {longer[-1]:,} bytes"
    )
    assert document_test(a, replace(b, sizes=longer, last_is_cut=True)).error is not None
    fewer = DocumentScores(b.nats[1:], b.sizes[1:], False, False)
    assert document_test(a, fewer).reason == "other documents: 40 and 39 documents were scored"
    assert document_test(a, a).reason == "no document differs"
    assert mean_documents([a, fewer]) == "its seeds differ: 39 and 40 documents were scored"


def test_the_mean_of_seeds_has_the_mean_of_their_scores() -> None:
    a, b = pair(1, 40)
    more = replace(a, nats=a.nats * 1.1)
    mean = mean_documents([a, more])
    assert isinstance(mean, DocumentScores)
    difference = document_test(mean, b).difference
    assert difference == pytest.approx(np.mean([document_test(x, b).difference for x in (a, more)]))


def test_degrees_of_freedom_count_documents_that_hold_text() -> None:
    assert degrees_of_freedom(np.full(25, 1 / 25)) == pytest.approx(24)
    half = np.array([0.5, *[0.5 / 99] * 99])
    assert degrees_of_freedom(half) < 4


def test_seeds_and_documents_add_their_variances() -> None:
    seeds, documents = welch([1.0, 1.2, 1.1], [0.9, 1.0, 0.8]), document_test(*pair(1, 60))
    both = combined(seeds, documents)
    halves = [t.high - t.difference for t in (seeds, documents, both)]  # type: ignore[operator]
    assert halves[2] == pytest.approx(math.hypot(halves[0], halves[1]))
    assert both.difference == seeds.difference
    alone = TTest("Welch", (1, 1), 0.1, reason="no test with one seed in an arm")
    assert combined(alone, documents).reason == "no test with one seed in an arm"


def test_seeds_and_documents_cover_another_training_on_another_text_and_neither_does_alone() -> None:
    """Noise of a seed on the whole text, of a document, and of a seed on a document."""
    draw, sizes = np.random.default_rng(2), np.full(60, 1000)
    covered = []

    def arm(bpb: float, of_document: np.ndarray) -> list[DocumentScores]:
        own = of_document + draw.normal(0, 0.007, (3, 1)) + draw.normal(0, 0.02, (3, 60))
        return [DocumentScores((bpb + noise) * 1000 * math.log(2), sizes, False, False) for noise in own]

    for _ in range(800):
        runs = arm(2 + GAP, draw.normal(0, 0.05, 60)), arm(2.0, np.zeros(60))
        a, b = ([float(run.nats.sum() / (math.log(2) * 60_000)) for run in of] for of in runs)
        by_seeds, by_documents = welch(a, b), document_test(*map(mean_documents, runs))  # type: ignore[arg-type]
        tests = (by_seeds, by_documents, combined(by_seeds, by_documents))
        covered.append([t.low <= GAP <= t.high for t in tests])  # type: ignore[operator]
    seeds, documents, both = np.mean(covered, axis=0)
    assert max(seeds, documents) < 0.93, (seeds, documents)
    assert both > 0.945


def test_quarters_add_up_to_the_difference_and_changes_are_sorted() -> None:
    a, b = pair(1, 200)
    parts, test = quarters(a, b), document_test(a, b)
    assert sum(q.share for q in parts) == pytest.approx(1)
    assert sum(q.share * (q.test.difference or 0) for q in parts) == pytest.approx(test.difference)
    assert [q.longest for q in parts] == sorted(q.longest for q in parts)
    changes = largest_changes(a, b)
    bits = (a.nats - b.nats) / math.log(2)
    assert changes[0].bits == pytest.approx(max(bits, key=abs))
    assert bits[changes[0].number - 1] == pytest.approx(changes[0].bits)
    assert text_difference(a, b, one_checkpoint=True).quarters == tuple(parts)


def test_modes_differ_on_one_checkpoint_only() -> None:
    a = {"val_text_sha": "t", "eval_mode": "plain", "weights_sha": "w"}
    assert text_refusal(a, {**a, "eval_mode": "sliding"}) is None
    assert text_refusal(a, {"val_text_sha": "t", "eval_mode": "sliding", "from.weights_sha": "w"}) is None
    assert "modes differ" in (text_refusal(a, {**a, "eval_mode": "sliding", "weights_sha": "v"}) or "")
    assert "texts" in (text_refusal(a, {**a, "val_text_sha": "u"}) or "")
