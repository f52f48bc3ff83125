"""The first screen of a page: what was asked, what came out, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.conditions import amount, budget, budget_text
from pgolf.records.progress import count_text
from pgolf.records.rows import Row
from pgolf.study.departures import studies_of
from pgolf.study.published import MOVING, ladders_of
from pgolf.study.verdicts import FAILS, Verdict, judge_arm
from pgolf.tables.decision import Decision
from pgolf.tables.family import ArmRow, FamilyTable, row_of
from pgolf.tables.ladder import Ladder
from pgolf.tables.sensitivity import is_turned, sensitivity
from pgolf.tables.stats import TTest
from pgolf.tables.text import Section, SectionKind, interval, number, p_text, verdict_text

MAIN = {SectionKind.STUDY, SectionKind.WARNINGS, SectionKind.FAMILY, SectionKind.UNSCORED, SectionKind.CLAIMS}
DIRECTED = ("worse", "better", "no_better")  # claims about arms against a baseline


@dataclass(frozen=True)
class Statement:
    """One answer. label: the verdict or decision. family: where it holds. sentence: the numbers behind it."""

    label: str
    verdict: str
    family: str
    sentence: str


@dataclass(frozen=True)
class Headline:
    """question: empty without a study. trends: how gaps move over each ladder of the study. claim: the claim that the
    statements judge; empty without one. table: the family of the picture; None if nothing is compared. facts: (name,
    value) of size, training, seeds and certainty. others: the verdicts on the study's other claims, counted.
    """

    question: str
    trends: tuple[str, ...]
    claim: str
    statements: tuple[Statement, ...]
    table: FamilyTable | None
    facts: tuple[tuple[str, str], ...]
    others: str


def headline(results: StudyResults) -> Headline:
    """The headline is the verdict on the first claim about arms in every family that tests it, or else the best arm of
    the first comparison. The picture is of its largest family.
    """
    question = "" if results.study is None else results.study.question
    trends = () if results.study is None else tuple(filter(None, map(trend, ladders_of(results.study, results.report))))
    tables = {table.family.name: table for table in results.report.families}
    first = next((v for v in results.verdicts if v.test.kind in DIRECTED and v.test.family in tables), None)
    if first is None:
        compared = [table for table in results.report.families if any(row.decision for row in table.rows)]
        table = compared[0] if compared else None
        best = () if table is None else (best_arm(table),)
        return Headline(question, trends, "", best, table, facts(results), others(results.verdicts))
    same = [v for v in results.verdicts if v.claim == first.claim and v.test.family in tables]
    # The last of the largest: studies put runs with a published fault first, and those without it later.
    chief = max(reversed(same), key=lambda v: len(compared_rows(tables[v.test.family])))
    ordered = [chief, *(v for v in same if v is not chief)]
    statements = tuple(
        Statement(v.label, v.verdict, v.test.family, claim_sentence(v, tables[v.test.family])) for v in ordered
    )
    table = tables[chief.test.family]
    rest = [v for v in results.verdicts if v.claim != first.claim]
    return Headline(question, trends, first.claim.text, statements, table, facts(results), others(rest))


def main_sections(results: StudyResults) -> list[Section]:
    """The sections that a terminal shows; table.md has the others too."""
    return [section for section in results.sections if section.kind in MAIN]


def answer(results: StudyResults) -> list[Section]:
    """The headline as a section, so that the last lines on a terminal say what came out. Runs of a study without its
    description have no answer.
    """
    if results.study is None and studies_of(results.collected.rows):
        return []
    found = headline(results)
    lines = (*found.trends, *(f"{one.label} ({one.family}): {one.sentence}" for one in found.statements))
    return [Section(SectionKind.CLAIMS, "Answer", lines)] if lines else []


def trend(ladder: Ladder) -> str:
    """How the gap of each arm moves over a ladder, in one sentence; empty without a slope."""
    slopes = [
        f"{climb.name} {interval(climb.slope)} ({climb.direction or 'no shown slope'})"
        for climb in ladder.climbs
        if climb.slope.p is not None
    ]
    if not slopes:
        return ""
    title = ladder.title[:1].upper() + ladder.title[1:]
    return f"{title}: change of the gap to the baseline per doubling of {ladder.over}, bpb: {', '.join(slopes)}."


def compared_rows(table: FamilyTable) -> list[ArmRow]:
    """The rows with a decision."""
    return [row for row in table.rows if row.decision is not None]


def claim_sentence(verdict: Verdict, table: FamilyTable) -> str:
    """How many arms are as claimed, and the arm that decides: the nearest to zero among those that gave the verdict,
    or the furthest if the claim does not hold.
    """
    rows = [row for arm in verdict.test.arms if (row := row_of(arm, table)) is not None]
    alpha = table.settings.equivalence_alpha
    decisive = [row for row in rows if row.decision and judge_arm(verdict.test.kind, row, alpha) == verdict.verdict]
    if not decisive:
        return "; ".join(verdict.numbers)
    chosen = (max if verdict.verdict == FAILS else min)(decisive, key=lambda row: abs(difference(row)))
    which = "Furthest from zero: " if verdict.verdict == FAILS else "Nearest to zero: "
    counted = f"{counts(rows, table)} {which if len(decisive) > 1 else ''}" if len(rows) > 1 else ""
    return f"{counted}{arm_sentence(chosen, table)}"


def counts(rows: Sequence[ArmRow], table: FamilyTable) -> str:
    """`5 of 6 arms are worse, 1 is undecided.`"""
    margin = table.settings.smallest_effect_bpb
    texts = [verdict_text(row.decision, margin) for row in rows if row.decision is not None]
    ordered = sorted(dict.fromkeys(texts), key=lambda text: -texts.count(text))
    (first, number), *more = [(text, texts.count(text)) for text in ordered]
    begin = f"{number} of {len(rows)} arms {'is' if number == 1 else 'are'} {first}"
    return ", ".join([begin, *(f"{n} {'is' if n == 1 else 'are'} {text}" for text, n in more)]) + "."


def arm_sentence(row: ArmRow, table: FamilyTable) -> str:
    """An arm's difference with its interval and p, and the decision."""
    comparison = row.comparison
    assert comparison is not None, row.label
    assert row.decision is not None, row.label
    margin = table.settings.smallest_effect_bpb
    decision = verdict_text(row.decision, margin, row.hindrance)
    p = "" if row.holm_p is None else f", {table.settings.rules.correction} p {p_text(row.holm_p)}"
    test = comparison.test
    if row.decision is Decision.UNDECIDED and not row.hindrance and lies_within(test, margin):
        decision += f": equality within {margin:g} is not shown after {table.settings.rules.correction}'s correction"
    value = interval(test)
    if test is not None and test.difference is not None and test.low is None:
        value = f"{number(test.difference, sign=True)} bpb ({test.reason})"
    else:
        value += " bpb"
    return f"{row.label} against {comparison.baseline}: {value}{p}: {decision}."


def lies_within(test: TTest | None, margin: float | None) -> bool:
    """Whether the interval of one comparison lies within the margin."""
    if test is None or margin is None or test.low is None or test.high is None:
        return False
    return -margin < test.low and test.high < margin


def difference(row: ArmRow) -> float:
    test = None if row.comparison is None else row.comparison.test
    return 0.0 if test is None or test.difference is None else test.difference


def best_arm(table: FamilyTable) -> Statement:
    """The arm with the lowest score, and how many arms have which decision."""
    rows = compared_rows(table)
    best = min(rows, key=difference)
    decision = best.decision or Decision.UNDECIDED
    counted = f"{counts(rows, table)} The lowest score of them: " if len(rows) > 1 else ""
    return Statement(decision.value, decision.value, table.family.name, f"{counted}{arm_sentence(best, table)}")


def others(verdicts: Sequence[Verdict]) -> str:
    """`holds 3, undecided 1`: the verdicts on other claims, counted; empty without one."""
    found = [v.verdict for v in verdicts]
    return ", ".join(f"{verdict} {found.count(verdict)}" for verdict in dict.fromkeys(found))


def facts(results: StudyResults) -> tuple[tuple[str, str], ...]:
    """Size, training, seeds and certainty of all families that compare something, or of all arms without one."""
    tables = [table for table in results.report.families if compared_rows(table)]
    rows = [row for each in tables or results.report.families for row in each.rows if row.mean_bpb is not None]
    runs = [run for row in rows for run in row.group.used.values()]
    pairs = [
        ("size", span([run.get("params.total") for run in runs], "parameters")),
        ("training", training(runs)),
        ("seeds", span([row.group.n for row in rows], "per arm")),
        *(certainty(tables) if tables else []),
    ]
    return tuple((name, value) for name, value in pairs if value)


def training(runs: Sequence[Row]) -> str:
    """`171 steps of 4,096 tokens (0.70M)`; the different budgets, if runs differ."""
    budgets = [text for values in dict.fromkeys(map(budget, runs)) if (text := budget_text(values))]
    tokens = span([run.get("tokens") for run in runs], "tokens")
    listed = " or ".join(budgets) if len(budgets) < 3 else f"{len(budgets)} different budgets"
    return f"{listed} ({tokens})" if listed and tokens else listed or tokens


def span(values: Sequence[object], unit: str) -> str:
    """`3 per arm`, or the range `0.48M to 1.51M parameters`; empty without a number."""
    numbers = sorted({value for value in values if isinstance(value, int | float)})
    if not numbers:
        return ""
    low, high = (f"{n / 1e6:.2f}M" if n >= 1e5 else amount(n) for n in (numbers[0], numbers[-1]))
    return f"{low if low == high else f'{low} to {high}'} {unit}"


def certainty(tables: Sequence[FamilyTable]) -> list[tuple[str, str]]:
    """The test, how many decisions another test turns, and how many gaps still move, over all families."""
    rows = [row for table in tables for row in compared_rows(table)]
    settings = tables[0].settings
    arms = [len(compared_rows(table)) + len(table.absent) for table in tables]
    margin = settings.smallest_effect_bpb
    matters = "" if margin is None else f"; differences below {margin:g} bpb do not matter"
    each = f" in each of {len(tables)} families" if len(tables) > 1 else ""
    found = [one for table in tables if (one := sensitivity(table)) is not None]
    turned = sum(is_turned(row, results) for one in found for row, results in one.rows)
    moving = sum(bool(row.extra.get(MOVING)) for row in rows)
    return [
        ("test", f"{settings.method.label}, corrected over {counts_text(arms)}{each}{matters}"),
        ("other tests", f"turn {turned} of {len(rows)} decisions" if turned else "give the same decisions"),
        ("during training", f"{moving} of {len(rows)} gaps still move" if moving else ""),
    ]


def counts_text(arms: Sequence[int]) -> str:
    """`3 arms`, or `3 to 6 arms`."""
    low, high = min(arms), max(arms)
    return count_text(low, "arm") if low == high else f"{low} to {high} arms"
