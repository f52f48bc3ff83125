"""Test-time training by execution: the evaluation is repeated with other tokens after some cuts.

Scores up to a cut must stay the same. A cut also changes the shapes of some calls, and so the order of sums. A change
that is small enough to be rounding is therefore decided by the same two evaluations in float64.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pgolf.audit.double import in_double
from pgolf.audit.judge import EPS, MARGIN, SAFETY, SAME_RESULT
from pgolf.audit.recorder import Recorder
from pgolf.audit.report import Check, Verdict
from pgolf.audit.tolerance import NOISE_SAFETY, Tolerance, magnitude_tolerance, narrowest, seen_types

RULE = "score first"
EXECUTED = "later tokens change no score"
MOST_CALLS = 16  # calls of `scored` up to this number are all cut; of more, so many at equal distances
DRAWN_CALLS = 8  # and so many of the others at random
SHOWN = 6  # cuts in one line of evidence
LIMIT = (
    "one text, and a cut in {cut} of {calls} calls of `scored`; tokens that do not come from `recorder.tokens` stay "
    "the same; training that changes a score by less than rounding is not seen where float64 cannot be executed"
)
Evaluate = Callable[[Recorder], object]
Scores = Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """The largest difference of two scores up to a cut, in nats, and the position of the token."""

    nats: float = 0.0
    position: int = -1
    cut: int = -1


def execute(evaluate: Evaluate, cut: int | None) -> Recorder:
    """One evaluation from start to end."""
    recorder = Recorder(cut)
    try:
        evaluate(recorder)
    finally:
        recorder.close()
    return recorder


def check(evaluate: Evaluate, first: Recorder) -> Check:
    """Evaluate again: unchanged, to learn what repeats, and with other tokens after each of some cuts."""
    chosen = _chosen(len([call for call in first.calls if call]))
    limits = LIMIT.format(cut=len(chosen), calls=len([call for call in first.calls if call]))

    def unknown(reason: str) -> Check:
        return Check(RULE, EXECUTED, Verdict.NOT_CHECKED, reason, limits)

    if first.length is None or not first.scores:
        return unknown("take the text from `recorder.tokens` and give the scores to `recorder.scored`")
    if odd := [position for position, nats in first.scores.items() if not math.isfinite(nats)]:
        return unknown(f"the score of token {odd[0]} is not finite")
    noise = _difference(first.scores, execute(evaluate, None).scores, first.length).nats
    spread = max(first.scores.values()) - min(first.scores.values())
    if noise > 1e-3 * max(spread, 1e-3):
        return unknown(
            f"two evaluations of one text differ by {noise:.3g} nats: begin each one anew, without random numbers"
        )
    cuts, found, later = _cuts(first, chosen, first.length), [], 0.0
    for cut in cuts:
        changed = execute(evaluate, cut).scores
        found.append(_difference(first.scores, changed, cut))
        later = max(later, _difference(first.scores, changed, first.length).nats)
    if not cuts:
        return unknown("no tokens follow the scored ones")
    exact = "equal bits" if noise == 0 else f"repeated evaluations differ by {noise:.1e} nats"
    differing = sorted((d for d in found if d.nats > noise * NOISE_SAFETY), key=lambda d: -d.nats)
    if differing:
        return _decided(evaluate, first, differing, exact, limits)
    if later == 0:
        return unknown("other tokens change no score at all: the evaluation does not use the text of `recorder.tokens`")
    return Check(RULE, EXECUTED, Verdict.PASS, f"{_listed(cuts)} of {first.length}; {exact}", limits)


def _decided(evaluate: Evaluate, first: Recorder, found: list[Difference], exact: str, limits: str) -> Check:
    """What differences of more than noise are: rounding, or later tokens. found: the largest one first."""
    assert first.length is not None
    tolerance = _tolerance(evaluate, first)
    size = max(abs(nats) for nats in first.scores.values())
    verdict, worst, text = Verdict.FAIL, found[0], f"{exact} otherwise"
    if worst.nats <= MARGIN * tolerance.nats:
        base = _in_double(evaluate, None)
        reason = base if isinstance(base, str) else _unlike(first.scores, base, tolerance)
        verdict, rounding, later = Verdict.PASS, 0.0, 0.0
        for difference in found if not reason else ():
            changed = _in_double(evaluate, difference.cut)
            if isinstance(base, str) or isinstance(changed, str):
                reason = str(changed)
                break
            again = _difference(base, changed, difference.cut)
            allowed = SAFETY * (tolerance.nats + difference.nats) * EPS / tolerance.eps
            if again.nats > allowed:
                verdict, worst, text = Verdict.FAIL, difference, f"{again.nats:.1e} nats in float64"
                break
            rounding, later = max(rounding, again.nats), max(later, _difference(base, changed, first.length).nats)
        else:
            reason = reason or ("" if later else "other tokens change nothing in float64")
        if verdict == Verdict.PASS and reason:
            is_large = worst.nats > tolerance.nats
            verdict, text = (Verdict.FAIL if is_large else Verdict.NOT_CHECKED), f"not decided in float64: {reason}"
        if verdict == Verdict.PASS:
            evidence = (
                f"{len(found)} cuts change scores before them by up to {worst.nats:.1e} nats, which is rounding: "
                f"{rounding:.1e} nats in float64; {tolerance.text}, scores up to {size:.3g} nats"
            )
            return Check(RULE, EXECUTED, Verdict.PASS, evidence, limits)
    evidence = f"other tokens after {worst.cut} change the score of token {worst.position} by {worst.nats:.3g} nats"
    if verdict == Verdict.NOT_CHECKED:
        return Check(RULE, EXECUTED, verdict, f"{evidence}, which may be rounding; {text}", limits)
    data: dict[str, Any] = {"cut": worst.cut, "position": worst.position}
    data["size"] = worst.nats if worst.nats < math.inf else None
    return Check(RULE, EXECUTED, verdict, f"{evidence}; {text}", limits, data)


def _tolerance(evaluate: Evaluate, first: Recorder) -> Tolerance:
    """What the order of sums explains, for the longest call of `scored` and the narrowest type that is computed in."""
    with seen_types() as seen:
        execute(evaluate, None)
    narrow = {dtype for dtype in seen if torch.finfo(dtype).eps >= torch.finfo(torch.float32).eps}
    longest, largest = max(map(len, first.calls)), max(abs(nats) for nats in first.scores.values())
    return magnitude_tolerance(narrowest({torch.float32, *narrow}), longest, largest)


def _in_double(evaluate: Evaluate, cut: int | None) -> Scores | str:
    """The scores of an evaluation whose operations are in float64, or why it cannot be executed."""
    try:
        with in_double(None):
            return execute(evaluate, cut).scores
    except Exception as error:  # of code that was not written for float64
        return f"{type(error).__name__}: {' '.join(str(error).split()):.100}"


def _unlike(given: Scores, double: Scores, tolerance: Tolerance) -> str:
    """Why scores in float64 are of another evaluation, empty if they are not."""
    if given.keys() != double.keys():
        return "other tokens are scored there"
    mean = sum(abs(given[p] - double[p]) for p in given) / len(given)
    return "" if mean <= SAME_RESULT * tolerance.nats else f"its scores differ by {mean:.1e} nats on average"


def _chosen(count: int) -> dict[int, bool]:
    """The calls to cut -> whether also at their end: the first, the middle and the last one."""
    ends = {0, (count - 1) // 2, count - 1} if count else set()
    spread = range(count) if count <= MOST_CALLS else (n * (count - 1) // (MOST_CALLS - 1) for n in range(MOST_CALLS))
    calls = ends | set(spread)
    others = [n for n in range(count) if n not in calls]
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(count))[:DRAWN_CALLS]
    return {n: n in ends for n in sorted(calls | {others[n] for n in drawn.tolist()})}


def _cuts(seen: Recorder, chosen: Mapping[int, bool], length: int) -> list[int]:
    """Positions in the middle of the chosen calls, and at the end of some.

    Training on the tokens of a call before it shows with a cut inside the call, reading ahead with a cut at its end.
    """
    calls = [sorted(call) for call in seen.calls if call]
    cuts = {calls[n][(len(calls[n]) - 1) // 2] for n in chosen} | {calls[n][-1] for n, end in chosen.items() if end}
    return sorted(cut for cut in cuts if 0 <= cut < length - 1)


def _listed(cuts: list[int]) -> str:
    """Cuts in a few words."""
    shown = cuts if len(cuts) <= SHOWN else [*cuts[: SHOWN - 1], "...", cuts[-1]]
    return f"{len(cuts)} cuts after tokens {', '.join(map(str, shown))}"


def _difference(a: Scores, b: Scores, last: int) -> Difference:
    """The largest difference of two scores up to position `last`. A missing score is infinitely far from any other."""
    worst, where = 0.0, -1
    for position in sorted(p for p in a.keys() | b.keys() if p <= last):
        x, y = a.get(position, math.nan), b.get(position, math.nan)
        size = 0.0 if x == y else abs(x - y)
        size = math.inf if size != size else size
        if size > worst:
            worst, where = size, position
    return Difference(worst, where, last)
