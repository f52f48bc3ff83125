"""Check of an evaluation: which targets it scores, and how often."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pgolf.audit import arguments
from pgolf.audit.report import Check, Report, Verdict
from pgolf.errors import PgolfError

RULE = "score"
MOST_TARGETS = 2**31 - 1  # their counts take four bytes each
SHOWN = 3  # places in one line of evidence
LIMITS = "the plan is checked, not whether the evaluation follows it"


def windows(plan: Iterable[Any], n_targets: int) -> Report:
    """Check that a plan of an evaluation scores each of the targets 0 .. n_targets-1 exactly once.

    plan: what each forward pass scores: a tuple (start, stop), which means start .. stop-1, or the positions of its
    targets as a list, range or array of integers. So [0, 64] is two positions, and (0, 64) is 64 of them. n_targets:
    targets of the text, one less than its tokens. Raises PgolfError for unusable arguments.
    """
    remedy = f"give the number of targets, from 1 to {MOST_TARGETS}"
    n_targets = arguments.whole("n_targets", n_targets, 1, remedy, MOST_TARGETS)
    plan = arguments.items("plan", plan, "give pairs (start, stop), or arrays of positions")
    times = np.zeros(n_targets, dtype=np.int32)
    outside: list[int] = []
    reversed_spans: list[tuple[int, int]] = []
    passes = total = 0
    hint = ""
    for item in plan:
        passes += 1
        if isinstance(item, tuple) and len(item) == 2:
            start, stop = (_whole(value, item) for value in item)
            if stop < start:
                reversed_spans.append((start, stop))
                continue
            times[max(start, 0) : max(stop, 0)] += 1
            outside += [start] * (start < 0 and stop > start) + [stop - 1] * (stop > max(n_targets, start))
            total += stop - start
        else:
            positions = _positions(item)
            if not hint and len(positions) == 2 and positions[1] > positions[0] + 1:
                hint = f"; {positions.tolist()} is taken as two positions: a pair (start, stop) must be a tuple"
            inside = (positions >= 0) & (positions < n_targets)
            np.add.at(times, positions[inside], 1)
            outside += positions[~inside].tolist()
            total += len(positions)
    numbers = {"passes": passes, "scored": total, "targets": n_targets}
    return Report(
        (
            _never(times, numbers, hint),
            _repeated(times, numbers, hint),
            _padding(outside, reversed_spans, numbers, hint),
        )
    )


def _never(times: np.ndarray, numbers: dict[str, int], hint: str) -> Check:
    """hint: about entries that may have been meant in another way, for the evidence of a failed check."""
    missed = np.flatnonzero(times == 0)
    evidence = f"{len(times) - len(missed):,} of {len(times):,} targets, in {numbers['passes']:,} passes"
    if len(missed):
        evidence += f"; never scored: {len(missed):,} targets, {_spans(missed)}{hint}"
    verdict = Verdict.FAIL if len(missed) else Verdict.PASS
    data = {**numbers, "never": len(missed)}
    return Check(RULE, "every target is scored", verdict, evidence, LIMITS, data)


def _repeated(times: np.ndarray, numbers: dict[str, int], hint: str) -> Check:
    again = np.flatnonzero(times > 1)
    extra = int((times[again] - 1).sum())
    evidence = f"{numbers['scored']:,} scores of {len(times):,} targets"
    if len(again):
        most = int(times.max())
        evidence += f"; {len(again):,} targets more than once, {_spans(again)}: {extra:,} scores too many, up to {most}"
        evidence += hint
    verdict = Verdict.FAIL if len(again) else Verdict.PASS
    data = {**numbers, "repeated": len(again), "extra_scores": extra}
    return Check(RULE, "no target is scored twice", verdict, evidence, LIMITS, data)


def _padding(outside: list[int], reversed_spans: list[tuple[int, int]], numbers: dict[str, int], hint: str) -> Check:
    found = []
    if outside:
        found.append(f"positions outside 0..{numbers['targets'] - 1:,} are scored, such as {sorted(outside)[0]:,}")
        if max(outside) != min(outside):
            found[-1] += f" and {max(outside):,}"
    if reversed_spans:
        found.append(f"{len(reversed_spans):,} spans end before they begin, such as {reversed_spans[0]}")
    verdict = Verdict.FAIL if found else Verdict.PASS
    evidence = "; ".join(found) + hint if found else f"all {numbers['scored']:,} scores are of targets of the text"
    data = {**numbers, "outside": len(outside), "reversed": len(reversed_spans)}
    return Check(RULE, "nothing but targets is scored", verdict, evidence, LIMITS, data)


def _spans(positions: np.ndarray) -> str:
    """Ascending positions as ranges, the first few."""
    breaks = np.flatnonzero(np.diff(positions) > 1)
    starts = positions[np.concatenate([[0], breaks + 1])]
    ends = positions[np.concatenate([breaks, [len(positions) - 1]])]
    shown = [f"{a:,}" if a == b else f"{a:,}..{b:,}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN:,} more places" if len(shown) > SHOWN else "")


def _whole(value: Any, item: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise PgolfError(f"plan: a span needs two whole numbers ({item!r:.60}). Give (start, stop)")
    return int(value)


def _positions(item: Any) -> np.ndarray:
    """The positions of one entry of a plan, int64 [S]."""
    try:
        positions = np.asarray(item)
    except (TypeError, ValueError, RuntimeError):
        positions = np.empty((), dtype=object)
    if positions.ndim != 1 or (positions.dtype.kind not in "iu" and len(positions)):
        raise PgolfError(
            f"plan: an entry is neither (start, stop) nor positions [S] ({item!r:.60}). Give pairs of whole numbers, "
            "or arrays of integers"
        )
    return positions.astype(np.int64)
