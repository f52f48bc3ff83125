"""From intervals and a margin to a decision: the one rule behind tables, claims and comparisons of bytes.

A difference is arm - baseline in bits per byte, so that positive is worse. The margin is the smallest difference that
matters. As seeds are added, the decision on a true difference d tends to `worse` or `better` if |d| is above the
margin, to `worse` or `better`, `by less than matters` if it is below, and to `equal within the margin` if d is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pgolf.tables.stats import ALPHA, Interval, TTest, holm, holm_levels


class Decision(Enum):
    """What the intervals of one comparison show. Two decisions on one comparison contradict each other only if one of
    them names `worse` and the other `better`.
    """

    WORSE = "worse"
    WORSE_BY_LESS = "worse, by less than matters"
    EQUAL = "equal within the margin"
    BETTER_BY_LESS = "better, by less than matters"
    BETTER = "better"
    UNDECIDED = "undecided"

    @property
    def sign(self) -> int:
        """1 if shown worse, -1 if shown better, else 0."""
        return {"worse": 1, "better": -1}.get(self.value.split(",")[0], 0)

    @property
    def is_small(self) -> bool:
        """Whether the difference is shown to be smaller than what matters."""
        return self in (Decision.WORSE_BY_LESS, Decision.EQUAL, Decision.BETTER_BY_LESS)


@dataclass(frozen=True)
class Rules:
    """margin: the smallest difference that matters, or None. alpha: the error rate of a family for differences, in both
    directions together. equivalence_alpha: that for equality, per side (TOST); 0.025 belongs to 95% intervals.
    step_down: Holm's correction; False: Bonferroni's, under which one arm's decision does not depend on the other arms.
    """

    margin: float | None = None
    alpha: float = ALPHA
    equivalence_alpha: float = ALPHA / 2
    step_down: bool = True

    @property
    def correction(self) -> str:
        return "Holm" if self.step_down else "Bonferroni"

    def adjusted(self, ps: Sequence[float | None]) -> list[float | None]:
        """Corrected p values, in the order given. A comparison without a test (None) counts."""
        return holm(ps) if self.step_down else [None if p is None else min(1.0, len(ps) * p) for p in ps]

    def levels(self, ps: Sequence[float | None], alpha: float) -> list[float | None]:
        """The level of each comparison's interval, in the order given."""
        if self.step_down:
            return holm_levels(ps, alpha)
        return [None if p is None else alpha / len(ps) for p in ps]


def decide(interval: Interval, margin: float | None, inner: Interval | None = None) -> Decision:
    """The decision from the interval of a difference. inner: the interval for equality, if its level is another one."""
    low, high = interval
    inner_low, inner_high = inner or interval
    is_small = margin is not None and -margin < inner_low and inner_high < margin
    if low > 0:
        return Decision.WORSE_BY_LESS if is_small else Decision.WORSE
    if high < 0:
        return Decision.BETTER_BY_LESS if is_small else Decision.BETTER
    return Decision.EQUAL if is_small else Decision.UNDECIDED


@dataclass(frozen=True)
class Corrected:
    """One comparison after Holm's correction over its family.

    p: of a difference. p_equal: of equality within the margin (TOST). p_no_better: that the arm is not better by as
    much as matters. p_better, p_worse: that it is better, or worse, by more than matters. The last three are one-sided.
    All but p are None without a margin. interval, inner: intervals at the corrected levels, which give the decision.
    """

    decision: Decision
    p: float
    p_equal: float | None = None
    p_no_better: float | None = None
    p_better: float | None = None
    interval: Interval | None = None
    inner: Interval | None = None
    p_worse: float | None = None


def corrected(tests: Sequence[TTest | None], rules: Rules) -> list[Corrected | None]:
    """The decisions on all comparisons of a family, in the order given; None without a test.

    tests: one per planned comparison. A comparison without a test (None) counts in the correction.
    """
    margin = rules.margin
    p = [None if test is None else test.p for test in tests]
    within, above, below, worse = (
        [None if test is None or margin is None else of(test, margin) for test in tests]
        for of in (TTest.p_within, lambda t, m: t.p_above(-m), lambda t, m: t.p_below(-m), lambda t, m: t.p_above(m))
    )
    levels, inner_levels = rules.levels(p, rules.alpha), rules.levels(within, rules.equivalence_alpha)
    adjusted = list(zip(*map(rules.adjusted, (p, within, above, below, worse)), strict=True))
    results: list[Corrected | None] = []
    for test, level, inner_level, (p_holm, *others) in zip(tests, levels, inner_levels, adjusted, strict=True):
        interval = None if test is None or level is None else test.interval(level)
        if test is None or interval is None or p_holm is None:
            results.append(None)
            continue
        inner = None if inner_level is None else test.interval(2 * inner_level)
        p_equal, p_no_better, p_better, p_worse = others
        decision = decide(interval, margin, inner)
        results.append(Corrected(decision, p_holm, p_equal, p_no_better, p_better, interval, inner, p_worse))
    return results
