"""The uncertainty of the text: intervals of a difference between scores, from the scores of the documents.

A score is a ratio, sum of nats / (ln 2 x sum of bytes). Documents are taken as drawn independently, and everything in
one document as one cluster (Miller 2024, arXiv 2411.00640). The error of a difference is that of its linear
approximation (the delta method), with the correction HC2 for the leverage of long documents, and the degrees of freedom
of Bell and McCaffrey (2002): few where a few documents hold most of the text. docs/statistics.md has the derivation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from pgolf.records.documents import DocumentScores
from pgolf.tables.stats import TTest, t_test
from pgolf.tables.text import interval, p_text

FEWEST_DOCUMENTS = 20
FEWEST_DF = 4  # below, a few documents hold most of the text
SAME_BYTES, SAME_SHARE = 2, 0.01  # tolerance for a document's bytes: tokenizers treat its first space differently
QUARTILES = 4
MOST_NAMED = 3


class Covers(Enum):
    """Which uncertainty an interval covers."""

    SEEDS = "seeds"
    DOCUMENTS = "documents"
    BOTH = "seeds and documents"


@dataclass(frozen=True)
class Quarter:
    """A quarter of the documents by length, shortest first. shortest, longest: in bytes. share: of all bytes.

    test: of the difference within the quarter, in bpb.
    """

    shortest: int
    longest: int
    share: float
    test: TTest


@dataclass(frozen=True)
class Change:
    """A document whose score changes much. number: from 1, in the order of the text. bits: the change of its code."""

    number: int
    bytes: int
    bits: float


def mean_documents(runs: Sequence[DocumentScores]) -> DocumentScores | str:
    """The mean over the seeds of one arm, by document; a reason where the runs have not scored the same documents."""
    first = runs[0]
    if problem := next((p for run in runs[1:] if (p := unlike(run, first))), None):
        return f"its seeds differ: {problem}"
    nats, sizes = (np.mean([of(run) for run in runs], axis=0) for of in (lambda r: r.nats, lambda r: r.sizes))
    return DocumentScores(nats, sizes, first.first_is_cut, first.last_is_cut)


def unlike(a: DocumentScores, b: DocumentScores) -> str | None:
    """Why two scores cannot be of the same documents; None if they can. Documents that are cut may differ in bytes."""
    if len(a.nats) != len(b.nats):
        return f"{len(a.nats):,} and {len(b.nats):,} documents were scored"
    tolerance = np.maximum(SAME_BYTES, SAME_SHARE * np.maximum(a.sizes, b.sizes))
    differs = np.abs(a.sizes - b.sizes) > tolerance
    differs[0] &= not (a.first_is_cut or b.first_is_cut)
    differs[-1] &= not (a.last_is_cut or b.last_is_cut)
    if differs.any():
        at = int(np.flatnonzero(differs)[0])
        return f"document {at + 1:,} has {a.sizes[at]:,.0f} and {b.sizes[at]:,.0f} bytes"
    return None


def document_test(a: DocumentScores, b: DocumentScores) -> TTest:
    """The test of score(a) - score(b) in bpb, paired by document, for trained models that are given.

    Without one, `reason` says why: other documents, too few of them, or most of the text in a few.
    """
    name, n = Covers.DOCUMENTS.value, (len(a.nats),)
    if problem := unlike(a, b):
        return TTest(name, n, None, reason=f"other documents: {problem}")
    totals = [math.log(2) * x.sizes.sum() for x in (a, b)]
    if not all(totals):
        return TTest(name, n, None, reason="no bytes were scored")
    scores = [x.nats.sum() / total for x, total in zip((a, b), totals, strict=True)]
    difference = float(scores[0] - scores[1])
    used = (a.sizes > 0) | (a.nats > 0)
    if used.sum() < FEWEST_DOCUMENTS:
        reason = f"no interval: {used.sum()} documents, {FEWEST_DOCUMENTS} needed"
        return TTest(name, n, difference, reason=reason)
    residuals = [
        (x.nats - score * math.log(2) * x.sizes) / total for x, score, total in zip((a, b), scores, totals, strict=True)
    ]
    weights = (a.sizes / a.sizes.sum() + b.sizes / b.sizes.sum()) / 2  # the leverage of a document
    df = degrees_of_freedom(weights)
    if df < FEWEST_DF:
        longest = f"the longest document has {weights.max():.0%} of the bytes"
        return TTest(name, n, difference, reason=f"a few documents hold most of the text: {longest}")
    error = math.sqrt(float(np.sum((residuals[0] - residuals[1]) ** 2 / (1 - weights))))
    if error == 0:
        return TTest(name, n, difference, reason="no document differs")
    return t_test(name, n, difference, error, df, 0.0, "two-sided")


def degrees_of_freedom(weights: np.ndarray) -> float:
    """Those of the error of a mean with these weights [N], which add up to 1 (Bell and McCaffrey 2002).

    The model behind them: the variance of a document's bits per byte falls as 1 / bytes. N - 1 for equal weights.
    """
    if weights.max() >= 1:
        return 0.0
    ratios = weights**2 / (1 - weights)
    return float(1 / (np.sum(weights**2) + np.sum(ratios) ** 2 - np.sum(ratios**2)))


def combined(seeds: TTest, documents: TTest) -> TTest:
    """The interval that covers seeds and documents: both variances added, as squares of the intervals' half widths.

    So it is never narrower than one of the two, whatever their degrees of freedom (Zou and Donner 2008). Each of the
    two contains the noise that a seed has on a document, so that the sum is slightly too large. It has no p.
    """
    name, n = Covers.BOTH.value, (*seeds.n, *documents.n)
    halves = [None if t.difference is None or t.high is None else t.high - t.difference for t in (seeds, documents)]
    if seeds.difference is None or halves[0] is None or halves[1] is None:
        return TTest(name, n, seeds.difference, reason=seeds.reason or documents.reason)
    half = math.hypot(halves[0], halves[1])
    return TTest(name, n, seeds.difference, seeds.difference - half, seeds.difference + half)


def quarters(a: DocumentScores, b: DocumentScores) -> list[Quarter]:
    """The difference by length of the documents, in quarters of equal number; [] without a test of the whole."""
    if document_test(a, b).error is None:
        return []
    order = np.argsort(b.sizes, kind="stable")
    return [
        Quarter(
            int(b.sizes[part].min()),
            int(b.sizes[part].max()),
            float(b.sizes[part].sum() / b.sizes.sum()),
            document_test(part_of(a, part), part_of(b, part)),
        )
        for part in np.array_split(order, QUARTILES)
    ]


def part_of(scores: DocumentScores, part: np.ndarray) -> DocumentScores:
    """Some of the documents. Which of them are cut is no longer known, so that all may be."""
    return DocumentScores(scores.nats[part], scores.sizes[part], scores.first_is_cut, scores.last_is_cut)


def largest_changes(a: DocumentScores, b: DocumentScores) -> list[Change]:
    """The documents whose nats differ most, largest first; [] without a test of the whole."""
    if document_test(a, b).error is None:
        return []
    bits = (a.nats - b.nats) / math.log(2)
    order = np.argsort(-np.abs(bits), kind="stable")[:MOST_NAMED]
    return [Change(int(at) + 1, int(b.sizes[at]), float(bits[at])) for at in order]


@dataclass(frozen=True)
class TextDifference:
    """The difference of two scores in bpb with the uncertainty of the text alone.

    covers: which uncertainty the interval covers. one_checkpoint: whether both scores are of the same trained weights,
    so that no noise of training is missing; None where it is not known. reason: why there is no difference or no
    interval. cut: documents that were scored in part. quarters, changes: where the difference comes from.
    """

    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    df: float | None = None
    error: float | None = None
    reason: str | None = None
    covers: str = Covers.DOCUMENTS.value
    documents: int = 0
    cut: int = 0
    one_checkpoint: bool | None = False
    quarters: tuple[Quarter, ...] = ()
    changes: tuple[Change, ...] = ()


def text_difference(a: DocumentScores, b: DocumentScores, *, one_checkpoint: bool | None) -> TextDifference:
    """score(a) - score(b) with its interval over documents."""
    test = document_test(a, b)
    return TextDifference(
        *(test.difference, test.low, test.high, test.p, test.df, test.error, test.reason),
        documents=len(a.nats),
        cut=max(a.cut, b.cut),
        one_checkpoint=one_checkpoint,
        quarters=tuple(quarters(a, b)),
        changes=tuple(largest_changes(a, b)),
    )


def text_refusal(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Why the scores of two records are not compared by document; None if they are. Modes may differ on one checkpoint:
    then the difference is what the mode changes.
    """
    if a.get("val_text_sha") is None or a.get("val_text_sha") != b.get("val_text_sha"):
        return "the validation texts are not the same"
    if a.get("eval_mode") != b.get("eval_mode") and not have_one_checkpoint(a, b):
        return "the evaluation modes differ, and the weights too"
    return None


def have_one_checkpoint(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two records are of the same trained weights, by their hash."""
    weights = [record.get("from.weights_sha") or record.get("weights_sha") for record in (a, b)]
    return weights[0] is not None and weights[0] == weights[1]


def difference_lines(found: TextDifference, names: str) -> list[str]:
    """A difference in a few lines of text. names: of what is subtracted, as in `B - A`."""
    if found.difference is None:
        return [f"uncertainty of the text: no difference, {found.reason}"]
    cut = f" ({found.cut} in part)" if found.cut else ""
    test = TTest("", (), found.difference, found.low, found.high, reason=found.reason)
    p = "" if found.p is None else f", p {p_text(found.p)}"
    scope = {
        True: "one checkpoint",
        False: "two trainings, whose noise between seeds is not covered",
        None: "two packed files; if they are of two trainings, the noise between seeds is not covered",
    }[found.one_checkpoint]
    covers = "the interval covers" if found.low is not None else "an interval would cover"
    lines = [
        f"uncertainty of the text: {names} {interval(test, 5)} bpb{p}",
        f"  {covers} {found.covers}: {found.documents:,}{cut}, for {scope}",
    ]
    for part in found.quarters:
        sizes = f"{part.shortest:,} to {part.longest:,} bytes"
        lines.append(f"  documents of {sizes}, {part.share:.0%} of the text: {interval(short_test(part.test), 5)}")
    if found.changes:
        most = ", ".join(f"{c.number} ({c.bytes:,} bytes, {c.bits:+,.0f} bits)" for c in found.changes)
        lines.append(f"  documents that change most: {most}")
    return lines


def short_test(test: TTest) -> TTest:
    """A test whose reason, if it has no interval, is short: a quarter of few documents has none."""
    return test if test.low is not None else replace(test, reason=f"{test.n[0]} documents, no interval")
