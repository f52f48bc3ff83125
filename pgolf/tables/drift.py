"""Gaps during training: an arm's live score minus its baseline's at several numbers of trained tokens, within seeds,
and the slope of the gap against the logarithm of the tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pgolf.tables.curves import Curve, CurveByRun, of_group
from pgolf.tables.family import ArmRow, FamilyTable, base_of
from pgolf.tables.stats import ALPHA, TTest, one_sample

MOST_POINTS = 5  # of a gap


@dataclass(frozen=True)
class Drift:
    """gaps: the test at each number of tokens, in bpb. slope: that of the change per doubling of tokens, with one
    value per seed.
    """

    tokens: tuple[int, ...]
    gaps: tuple[TTest, ...]
    slope: TTest

    @property
    def direction(self) -> str:
        """`rises` or `falls` if the slope has p < 0.05, else empty. It is a caution, so it is not corrected for the
        number of arms.
        """
        if self.slope.p is None or self.slope.difference is None or self.slope.p >= ALPHA:
            return ""
        return "rises" if self.slope.difference > 0 else "falls"


Points = dict[int, float]  # tokens -> live bpb


def points_of(row: ArmRow, curves: CurveByRun) -> dict[int, Points]:
    """The live scores of each counted seed with a curve."""
    return {curve.seed: live_scores(curve, row) for curve in of_group(row.group, curves)}


def live_scores(curve: Curve, row: ArmRow) -> Points:
    batch = row.group.only("budget.batch_tokens")
    if not isinstance(batch, int):
        batch = curve.train_tokens[-1] / curve.train_steps[-1] if curve.train_steps and curve.train_steps[-1] else 1
    scores = zip(curve.val_steps, curve.val_bpb_live, strict=True)
    return {round(step * batch): bpb for step, bpb in scores if step > 0 and math.isfinite(bpb)}


def slope(tokens: Sequence[float], gaps: Sequence[float]) -> float:
    """The least-squares change of a gap per doubling of the tokens."""
    x = [math.log2(count) for count in tokens]
    mean_x, mean_y = fmean(x), fmean(gaps)
    return math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, gaps, strict=True)) / math.fsum(
        (a - mean_x) ** 2 for a in x
    )


def spaced(tokens: Sequence[int]) -> tuple[int, ...]:
    """At most MOST_POINTS of sorted numbers, evenly spaced in their logarithm, with the first and the last one."""
    if len(tokens) <= MOST_POINTS:
        return tuple(tokens)
    first, last = math.log(tokens[0]), math.log(tokens[-1])
    at = [math.exp(first + i * (last - first) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]
    return tuple(sorted({min(tokens, key=lambda count: abs(count - x)) for x in at}))


def drifts(table: FamilyTable, curves: CurveByRun) -> dict[str, Drift]:
    """The drift of each compared arm, by label. Left out are arms that have fewer than two seeds with curves in common
    with their baseline. Empty if the curves have fewer than two points in common.
    """
    pairs: dict[str, list[tuple[Points, Points]]] = {}
    for row in table.rows:
        base = base_of(row, table)
        if base is None or row.comparison is None or row.comparison.test is None:
            continue
        arm, of_base = points_of(row, curves), points_of(base, curves)
        seeds = sorted(set(arm) & set(of_base))
        if len(seeds) > 1:
            pairs[row.label] = [(arm[seed], of_base[seed]) for seed in seeds]
    common = [set(a) & set(b) for runs in pairs.values() for a, b in runs]
    tokens = spaced(sorted(set.intersection(*common))) if common else ()
    if len(tokens) < 2:
        return {}
    found = {}
    for label, runs in pairs.items():
        gaps = [[a[count] - b[count] for count in tokens] for a, b in runs]
        tests = tuple(one_sample([gap[at] for gap in gaps]) for at in range(len(tokens)))
        found[label] = Drift(tokens, tests, one_sample([slope(tokens, gap) for gap in gaps]))
    return found
