"""Verdicts on published claims, each by a stated rule from the decisions of the tables.

A claim about arms is a claim about the sign of true differences, beyond a threshold: 0 for `worse` and `better`, minus
the smallest effect that matters for `no_better` and `order`. It holds if the differences are shown to lie on its side
of the threshold, and does not hold if one is shown to lie on the other side. Both have the same error rate. `equal` has
two thresholds, plus and minus the smallest effect that matters: differences lie between them, or one lies outside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pgolf.study.description import EXPLORED, OF_PUBLISHED_ROWS, Claim, ClaimTest, Study
from pgolf.study.published import MOVING, OVER_LADDER
from pgolf.tables.caveats import CaveatKind
from pgolf.tables.contrast import Link, tests_of
from pgolf.tables.decision import Decision
from pgolf.tables.family import ArmRow, FamilyTable, row_of, uncompared
from pgolf.tables.order import Order, order_agreement
from pgolf.tables.stats import ALPHA
from pgolf.tables.table import Tables
from pgolf.tables.text import interval, p_text, verdict_text

HOLDS, FAILS, UNDECIDED, UNTESTABLE = "holds", "does not hold", "undecided", "not testable here"
SMALL = "too small to matter"
BY_LESS = ", by less than matters"
ADDED = " (seeds were added)"
EXACT, ABOUT = 0.01, 0.1  # tolerance of a published value for a claim that names it exactly, or roughly
DIRECTED = (
    f"holds if every arm is shown to be {{0}} (Holm p < {ALPHA}). Does not hold if an arm is shown to be {{1}} (Holm p "
    f"< {ALPHA}). Otherwise it is {SMALL} if an arm is equal within the margin. 'By less than matters': the difference "
    "of one arm or more that the verdict rests on is also shown to be smaller than the margin"
)
RULES = {
    "worse": DIRECTED.format("worse", "better"),
    "better": DIRECTED.format("better", "worse"),
    "no_better": "holds if no arm is better by as much as matters. Does not hold if an arm is better by more than "
    "matters. One-sided tests against the margin, corrected by Holm's method. 'By less than matters': an arm is shown "
    "to be better, by less than the margin",
    "equal": "holds if every arm is shown to be equal within the margin (two one-sided tests). Does not hold if an arm "
    "is shown to be better or worse by more than matters. One-sided tests, corrected by Holm's method",
    "order": "holds if no pair of arms is reversed by as much as matters, and at least half of the pairs differ in the "
    "published order. Does not hold if a pair is reversed by more than matters. All pairs are tested, and corrected by "
    "Holm's method. A pair without a shown difference is a tie",
    "published_is": f"holds if the published row has the claimed value within {EXACT:.0%}. Otherwise does not hold",
    "published_saves": "holds if the published rows lie below their baseline's by the claimed amount, within "
    f"{ABOUT:.0%}. Otherwise does not hold",
    "published_at_most": "holds if no published row exceeds the value. Otherwise does not hold",
    "untestable": "",
}


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim in one family.

    numbers: what it is based on, one text per number. order: for claims about an order. explored: whether the family
    was added after scores of its arms had been seen. by_less: whether a difference is shown to be smaller than what
    matters, so that the claim holds, or does not hold, by less than matters. added: whether an arm has seeds that were
    added to the planned ones.
    """

    claim: Claim
    test: ClaimTest
    verdict: str
    numbers: tuple[str, ...] = ()
    order: Order | None = None
    explored: bool = False
    by_less: bool = False
    added: bool = False

    @property
    def label(self) -> str:
        """The verdict for readers. It says so if the family was explored afterwards, or if seeds were added."""
        marks = (BY_LESS if self.by_less else "", EXPLORED if self.explored else "", ADDED if self.added else "")
        return self.verdict + "".join(marks)


def verdicts(study: Study, report: Tables) -> list[Verdict]:
    """The verdicts on all claims, one per family that tests a claim."""
    tables = {table.family.name: table for table in report.families}
    judged = [judge(study, claim, test, tables.get(test.family)) for claim in study.claims for test in claim.tests]
    return [
        replace(
            v,
            explored=(plan := study.plan_of(v.test.family)) is not None and plan.explored,
            added=v.verdict != UNTESTABLE and has_added_seeds(v.test, tables.get(v.test.family)),
        )
        for v in judged
    ]


def has_added_seeds(test: ClaimTest, table: FamilyTable | None) -> bool:
    """Whether an arm of a claim, or its baseline, has seeds that were added to the planned ones."""
    if table is None:
        return False
    rows = [row for row in table.rows if row.group.arm in (*test.arms, table.family.baseline)]
    return any(caveat.kind is CaveatKind.ADDED_SEEDS for row in rows for caveat in row.caveats)


def judge(study: Study, claim: Claim, test: ClaimTest, table: FamilyTable | None) -> Verdict:
    if test.kind in OF_PUBLISHED_ROWS:
        return judge_published(study, claim, test)
    if test.kind == "untestable":
        return Verdict(claim, test, UNTESTABLE)
    if table is None:
        return Verdict(claim, test, UNTESTABLE, (f"family {test.family} has no runs",))
    arms = dict.fromkeys((*test.arms, table.family.baseline or ""))
    rows = {arm: row for arm in arms if (row := row_of(arm, table)) is not None}
    if problems := tuple(f"{arm} {reason}" for arm in arms if (reason := unfit(rows.get(arm)))):
        return Verdict(claim, test, UNDECIDED, problems)
    if test.kind == "order":
        return judge_order(claim, test, rows, table)
    return judge_arms(claim, test, [rows[arm] for arm in test.arms], table)


def judge_arms(claim: Claim, test: ClaimTest, rows: Sequence[ArmRow], table: FamilyTable) -> Verdict:
    """The verdict on a claim that every arm is worse, better, no better than the baseline, or equal to it."""
    margin = table.settings.smallest_effect_bpb
    singles = [judge_arm(test.kind, row, table.settings.equivalence_alpha) for row in rows]
    counts = dict.fromkeys((FAILS, UNDECIDED, SMALL, HOLDS), 0)
    for single in singles:
        counts[single] += 1
    verdict = next(result for result in (FAILS, SMALL, UNDECIDED, HOLDS) if counts[result])
    decisive = [row for row, single in zip(rows, singles, strict=True) if single == verdict]
    small = [row.decision is not None and row.decision.is_small for row in decisive]
    if test.kind == "no_better":
        by_less = verdict == HOLDS and any(row.decision is Decision.BETTER_BY_LESS for row in decisive)
    else:
        by_less = test.kind != "equal" and ((verdict == HOLDS and any(small)) or (verdict == FAILS and all(small)))
    numbers = [
        number_of(arm, row, margin, table.settings.rules.correction) for arm, row in zip(test.arms, rows, strict=True)
    ]
    if len(rows) > 1:
        shown = {HOLDS: "as claimed", FAILS: "the opposite", SMALL: "equal within the margin", UNDECIDED: "undecided"}
        listed_counts = ", ".join(f"{counts[result]} {text}" for result, text in shown.items() if counts[result])
        numbers.insert(0, f"of {len(rows)} arms {listed_counts}")
    return Verdict(claim, test, verdict, tuple(numbers), by_less=by_less)


def judge_published(study: Study, claim: Claim, test: ClaimTest) -> Verdict:
    """The verdict on a claim about published rows. It does not depend on any run."""
    assert test.value is not None
    rows = {arm: study.published[arm][test.field] for arm in test.arms}
    if test.kind == "published_at_most":
        above = {arm: value for arm, value in rows.items() if value > test.value}
        count = f"{len(above)} of {len(rows)} above {test.value:,.15g}"
        return Verdict(claim, test, FAILS if above else HOLDS, listed(count, above))
    title, tolerance = f"{test.field}, published", EXACT
    if test.kind == "published_saves":
        plan = study.plan_of(test.family)
        assert plan is not None, test.family
        rows = {arm: study.published[plan.baseline][test.field] - value for arm, value in rows.items()}
        title, tolerance = f"{test.field} saved, published", ABOUT
    holds = all(abs(value - test.value) <= tolerance * abs(test.value) for value in rows.values())
    return Verdict(claim, test, HOLDS if holds else FAILS, listed(title, rows))


def listed(title: str, values: Mapping[str, float]) -> tuple[str, ...]:
    """One text per value, the first with the title; the title alone without values."""
    first, *rest = [f"{arm} {value:,.15g}" for arm, value in values.items()] or [""]
    return (f"{title}: {first}" if first else title, *rest)


def unfit(row: ArmRow | None) -> str | None:
    """Why an arm cannot be judged; None if it can."""
    return uncompared(row) or (None if row is None else row.hindrance)


def judge_arm(kind: str, row: ArmRow, alpha: float) -> str:
    """The verdict on one arm. alpha: of the one-sided tests against the margin by which a claim holds. By those with
    ALPHA / 2 it does not hold, so that it never contradicts the arm's two-sided decision.
    """
    found = row.corrected
    if found is None:
        return UNDECIDED
    if kind == "no_better":
        if found.p_better is not None and found.p_better < ALPHA / 2:
            return FAILS
        return HOLDS if found.p_no_better is not None and found.p_no_better < alpha else UNDECIDED
    if kind == "equal":
        if any(p is not None and p < ALPHA / 2 for p in (found.p_better, found.p_worse)):
            return FAILS
        return HOLDS if found.p_equal is not None and found.p_equal < alpha else UNDECIDED
    claimed = 1 if kind == "worse" else -1
    if found.decision.sign:
        return HOLDS if found.decision.sign == claimed else FAILS
    return SMALL if found.decision is Decision.EQUAL else UNDECIDED


def number_of(arm: str, row: ArmRow, margin: float | None, correction: str) -> str:
    """An arm's difference, its p values and its decision; why it has none without a test. correction: its name."""
    test = None if row.comparison is None else row.comparison.test
    if test is None or row.corrected is None:
        reason = test.reason if test is not None and test.reason else "not compared"
        return f"{arm} has no test against the baseline ({reason})"
    equal = row.corrected.p_equal
    equality = "" if equal is None or not 0 < equal < 0.5 else f", equality p {p_text(equal)}"
    decision = verdict_text(row.corrected.decision, margin)
    moving = f" (its gap {row.extra[MOVING]} during training)" if row.extra.get(MOVING) else ""
    if trend := row.extra.get(OVER_LADDER):
        moving += f" (for this budget and size; its gap {trend})"
    return f"{arm} {interval(test)}, {correction} p {p_text(row.corrected.p)}{equality}: {decision}{moving}"


def judge_order(claim: Claim, test: ClaimTest, rows: Mapping[str, ArmRow], table: FamilyTable) -> Verdict:
    """The verdict on an order. test.arms: the published order, best first."""
    links = [Link(rows[later].group, rows[earlier].group, earlier) for earlier, later in combinations(test.arms, 2)]
    tests = tests_of(links, table.settings.method, table.study)
    order = order_agreement(tests, table.settings.rules, len(test.arms))
    if order.tau_b is None:
        return Verdict(claim, test, UNDECIDED, (str(order.reason),), order)
    is_in_order = order.within == order.pairs and 2 * order.concordant >= order.pairs
    verdict = FAILS if order.reversed_by_more else HOLDS if is_in_order else UNDECIDED
    numbers = (
        f"tau-b {order.tau_b:+.2f}: of {order.pairs} pairs {order.concordant} as published, {order.discordant} "
        f"reversed ({order.reversed_by_more} of them by more than matters), {order.ties} ties"
    )
    return Verdict(claim, test, verdict, (numbers,), order)


def rules_used(judged: Sequence[Verdict], correction: str = "Holm") -> list[str]:
    """The rules of the kinds of claims that were judged. correction: the name of that over a family's comparisons."""
    return [
        f"{kind}: {RULES[kind].replace('Holm', correction)}"
        for kind in dict.fromkeys(v.test.kind for v in judged)
        if RULES[kind]
    ]
