"""Published claims against what was measured: holds, does not hold, undecided, not testable here, each by a stated
rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pgolf.study.description import EXPLORED, OF_PUBLISHED_ROWS, Claim, ClaimTest, Study
from pgolf.tables.stats import ALPHA, Order, order_agreement
from pgolf.tables.table import FEWEST_SEEDS, ArmRow, FamilyTable, Tables, row_of, uncompared
from pgolf.tables.text import interval, p_text

HOLDS, FAILS, UNDECIDED, UNTESTABLE = "holds", "does not hold", "undecided", "not testable here"
EXACT, ABOUT = 0.01, 0.1  # how far a published value may lie from a claim that names it, and one that says `about`
RULES = {
    "worse": f"holds: every arm worse than the baseline, Holm p < {ALPHA}; otherwise does not hold: one better with p "
    f"< {ALPHA}, or its"
    " interval within the smallest effect that matters",
    "better": f"holds: every arm better than the baseline, Holm p < {ALPHA}; otherwise does not hold: one worse with "
    f"p < {ALPHA}, or its"
    " interval within the smallest effect that matters",
    "no_better": f"does not hold: one arm better with Holm p < {ALPHA};"
    " otherwise holds: every arm's interval excludes an improvement by the smallest effect that matters",
    "order": "Kendall's tau-b of the published and the measured order, pairs within their uncorrected 95% interval as "
    "ties;"
    " holds: no pair is reversed and half of them are told apart; does not hold: a pair is reversed beyond its "
    "interval",
    "published_is": f"holds: the published row has the value that is claimed, within {EXACT:.0%}; otherwise does not "
    "hold",
    "published_saves": f"holds: the published rows lie below their baseline's by what is claimed, within {ABOUT:.0%}; "
    "otherwise does not"
    " hold",
    "published_at_most": "holds: no published row exceeds the value; otherwise does not hold",
    "untestable": "",
}


@dataclass(frozen=True)
class Verdict:
    """One claim in one family. why: the numbers it rests on; order: of claims about an order; explored: by a family
    added afterwards.
    """

    claim: Claim
    test: ClaimTest
    verdict: str
    why: str
    order: Order | None = None
    explored: bool = False

    @property
    def told(self) -> str:
        """The verdict, and that it explores where it does."""
        return self.verdict + (EXPLORED if self.explored else "")


def verdicts(study: Study, report: Tables) -> list[Verdict]:
    """Every claim, in every family that tests it."""
    tables = {table.family.name: table for table in report.families}
    found = [judge(study, claim, test, tables.get(test.family)) for claim in study.claims for test in claim.tests]
    return [replace(v, explored=(plan := study.plan_of(v.test.family)) is not None and plan.explored) for v in found]


def judge(study: Study, claim: Claim, test: ClaimTest, table: FamilyTable | None) -> Verdict:
    if test.kind in OF_PUBLISHED_ROWS:
        return judge_published(study, claim, test)
    if test.kind == "untestable" or table is None:
        return Verdict(
            claim, test, UNTESTABLE, "" if test.kind == "untestable" else f"family {test.family} has not been run"
        )
    named = dict.fromkeys((*test.arms, table.family.baseline or ""))
    rows = {arm: row for arm in named if (row := row_of(arm, table)) is not None}
    if why := [f"{arm} {reason}" for arm in named if (reason := unfit(rows.get(arm)))]:
        return Verdict(claim, test, UNDECIDED, "; ".join(why))
    if test.kind == "order":
        return judge_order(claim, test, rows)
    singles = [judge_arm(test.kind, rows[arm], study.smallest_effect_bpb) for arm in test.arms]
    found = [verdict for verdict, _ in singles]
    whole = FAILS if FAILS in found else UNDECIDED if UNDECIDED in found else HOLDS
    return Verdict(
        claim, test, whole, "; ".join(f"{arm} {why}" for arm, (_, why) in zip(test.arms, singles, strict=True))
    )


def judge_published(study: Study, claim: Claim, test: ClaimTest) -> Verdict:
    """A claim that the published rows answer by themselves, whatever has been run."""
    assert test.value is not None
    rows = {arm: study.published[arm][test.field] for arm in test.arms}
    if test.kind == "published_at_most":
        over = {arm: value for arm, value in rows.items() if value > test.value}
        why = f"{len(over)} of {len(rows)} above {test.value:,.15g}" + (f": {listed(over)}" if over else "")
        return Verdict(claim, test, FAILS if over else HOLDS, why)
    what, near = f"{test.field}, published", EXACT
    if test.kind == "published_saves":
        plan = study.plan_of(test.family)
        assert plan is not None, test.family
        rows = {arm: study.published[plan.baseline][test.field] - value for arm, value in rows.items()}
        what, near = f"{test.field} saved, published", ABOUT
    holds = all(abs(value - test.value) <= near * abs(test.value) for value in rows.values())
    return Verdict(claim, test, HOLDS if holds else FAILS, f"{what}: {listed(rows)}")


def listed(values: Mapping[str, float]) -> str:
    return "; ".join(f"{arm} {value:,.15g}" for arm, value in values.items())


def unfit(row: ArmRow | None) -> str | None:
    """Why an arm cannot be judged."""
    if why := uncompared(row):
        return why
    if row is not None and row.group.n < FEWEST_SEEDS:
        return f"has {row.group.n} of the {FEWEST_SEEDS} seeds that a verdict needs"
    return None


def judge_arm(kind: str, row: ArmRow, smallest: float) -> tuple[str, str]:
    """(verdict, numbers) of one arm. Differences are arm - baseline: positive is worse."""
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
        return (
            UNDECIDED,
            f"has no test against the baseline ({test.reason if test is not None and test.reason else 'not compared'})",
        )
    why = f"{interval(test)}, Holm p {p_text(holm)}"
    if kind == "no_better":
        if test.difference < 0 and holm < ALPHA:
            return FAILS, why
        return (HOLDS if test.low > -smallest else UNDECIDED), why
    sign = 1 if kind == "worse" else -1
    if sign * test.difference > 0 and holm < ALPHA:
        return HOLDS, why
    wrong = sign * test.difference < 0 and test.p < ALPHA
    return (FAILS if wrong or test.within(smallest) else UNDECIDED), why


def judge_order(claim: Claim, test: ClaimTest, rows: dict[str, ArmRow]) -> Verdict:
    """test.arms is the published order, best first."""
    order = order_agreement([rows[arm].group.values("val_bpb") for arm in test.arms], range(len(test.arms)))
    pairs = order.concordant + order.discordant + order.ties
    if order.tau_b is None:
        return Verdict(claim, test, UNDECIDED, str(order.reason), order)
    verdict = FAILS if order.discordant else HOLDS if 2 * order.concordant >= pairs else UNDECIDED
    why = (
        f"tau-b {order.tau_b:+.2f}: of {pairs} pairs {order.concordant} as published, {order.discordant} reversed, "
        f"{order.ties} ties"
    )
    return Verdict(claim, test, verdict, why, order)


def rules_used(found: Sequence[Verdict]) -> list[str]:
    """The rules of the kinds at hand, to stand under the table."""
    return [f"{kind}: {RULES[kind]}" for kind in dict.fromkeys(v.test.kind for v in found) if RULES[kind]]
