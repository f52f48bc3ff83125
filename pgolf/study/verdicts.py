"""Verdicts on published claims: holds, does not hold, undecided or not testable here, each by a stated rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pgolf.study.description import EXPLORED, OF_PUBLISHED_ROWS, Claim, ClaimTest, Study
from pgolf.tables.caveats import FEWEST_SEEDS
from pgolf.tables.stats import ALPHA, Order, order_agreement
from pgolf.tables.table import ArmRow, FamilyTable, Tables, row_of, uncompared
from pgolf.tables.text import interval, p_text

HOLDS, FAILS, UNDECIDED, UNTESTABLE = "holds", "does not hold", "undecided", "not testable here"
EXACT, ABOUT = 0.01, 0.1  # tolerance of a published value for a claim that names it exactly, or roughly
RULES = {
    "worse": f"holds if every arm is worse than the baseline with Holm p < {ALPHA}. Does not hold if an arm is better "
    f"with p < {ALPHA}, or its interval lies within the smallest effect that matters",
    "better": f"holds if every arm is better than the baseline with Holm p < {ALPHA}. Does not hold if an arm is worse "
    f"with p < {ALPHA}, or its interval lies within the smallest effect that matters",
    "no_better": f"does not hold if an arm is better with Holm p < {ALPHA}. Otherwise holds if every arm's interval "
    "excludes an improvement by the smallest effect that matters",
    "order": "Kendall's tau-b of the published and the measured order. A pair whose uncorrected 95% interval contains "
    "zero is a tie. Holds if no pair is reversed and at least half of the pairs are in the published order. Does not "
    "hold if a pair is reversed",
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
    was added after scores of its arms had been seen.
    """

    claim: Claim
    test: ClaimTest
    verdict: str
    numbers: tuple[str, ...] = ()
    order: Order | None = None
    explored: bool = False

    @property
    def label(self) -> str:
        """The verdict for readers; it says so if the family was explored afterwards."""
        return self.verdict + (EXPLORED if self.explored else "")


def verdicts(study: Study, report: Tables) -> list[Verdict]:
    """The verdicts on all claims, one per family that tests a claim."""
    tables = {table.family.name: table for table in report.families}
    judged = [judge(study, claim, test, tables.get(test.family)) for claim in study.claims for test in claim.tests]
    return [replace(v, explored=(plan := study.plan_of(v.test.family)) is not None and plan.explored) for v in judged]


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
        return judge_order(claim, test, rows)
    singles = [judge_arm(test.kind, rows[arm], study.smallest_effect_bpb) for arm in test.arms]
    results = [verdict for verdict, _ in singles]
    verdict = FAILS if FAILS in results else UNDECIDED if UNDECIDED in results else HOLDS
    numbers = tuple(f"{arm} {number}" for arm, (_, number) in zip(test.arms, singles, strict=True))
    return Verdict(claim, test, verdict, numbers)


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
    if reason := uncompared(row):
        return reason
    if row is not None and row.group.n < FEWEST_SEEDS:
        return f"has {row.group.n} of the {FEWEST_SEEDS} seeds that a verdict needs"
    return None


def judge_arm(kind: str, row: ArmRow, smallest: float) -> tuple[str, str]:
    """(verdict, numbers) of one arm. A difference is arm - baseline; positive is worse."""
    test = None if row.comparison is None else row.comparison.test
    holm = row.holm_p
    if (
        test is None
        or test.difference is None
        or test.p is None
        or test.low is None
        or test.high is None
        or holm is None
    ):
        reason = test.reason if test is not None and test.reason else "not compared"
        return UNDECIDED, f"has no test against the baseline ({reason})"
    numbers = f"{interval(test)}, Holm p {p_text(holm)}"
    if kind == "no_better":
        if test.difference < 0 and holm < ALPHA:
            return FAILS, numbers
        return (HOLDS if test.low > -smallest else UNDECIDED), numbers
    sign = 1 if kind == "worse" else -1
    if sign * test.difference > 0 and holm < ALPHA:
        return HOLDS, numbers
    is_opposite = sign * test.difference < 0 and test.p < ALPHA
    return (FAILS if is_opposite or test.within(smallest) else UNDECIDED), numbers


def judge_order(claim: Claim, test: ClaimTest, rows: Mapping[str, ArmRow]) -> Verdict:
    """The verdict on an order. test.arms: the published order, best first."""
    order = order_agreement([rows[arm].group.values("val_bpb") for arm in test.arms], range(len(test.arms)))
    pairs = order.concordant + order.discordant + order.ties
    if order.tau_b is None:
        return Verdict(claim, test, UNDECIDED, (str(order.reason),), order)
    verdict = FAILS if order.discordant else HOLDS if 2 * order.concordant >= pairs else UNDECIDED
    numbers = (
        f"tau-b {order.tau_b:+.2f}: of {pairs} pairs {order.concordant} as published, {order.discordant} reversed, "
        f"{order.ties} ties"
    )
    return Verdict(claim, test, verdict, (numbers,), order)


def rules_used(judged: Sequence[Verdict]) -> list[str]:
    """The rules of the kinds of claims that were judged."""
    return [f"{kind}: {RULES[kind]}" for kind in dict.fromkeys(v.test.kind for v in judged) if RULES[kind]]
