"""Caveats of groups within their family, and the warnings that stand above all tables."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pgolf.records.plan import GATE
from pgolf.records.rows import ADDED_BY_GATE
from pgolf.tables.caveats import FEWEST_SEEDS, Caveat, CaveatKind
from pgolf.tables.contrast import copies
from pgolf.tables.family import FamilyTable
from pgolf.tables.groups import Group

MOST_ARMS = 200  # in one warning
MOST_RECORDS = 20  # damaged or foreign records in the warnings


def group_caveats(g: Group, label: str, names: Sequence[str]) -> list[Caveat]:
    """Caveats of a group within its family. names: all labels of its configuration there."""
    caveats = []
    if g.refusal and g.used:
        caveats.append(Caveat(CaveatKind.NO_MEAN, g.refusal.text))
    if g.n < FEWEST_SEEDS:
        caveats.append(Caveat(CaveatKind.FEW_SEEDS, f"n = {g.n}, fewer than {FEWEST_SEEDS}"))
    if len(names) > 1:
        others = ", ".join(name for name in names if name != label)
        caveats.append(Caveat(CaveatKind.SEVERAL_NAMES, f"same configuration as {others}"))
    return caveats


def invalid_records(groups: Sequence[Group]) -> list[str]:
    """Why damaged and foreign records do not count, one line per record, at most MOST_RECORDS of them."""
    reasons = {
        row["folder"]: first_line(row.get("error"))
        for g in groups
        for row in g.rows
        if row["status"] in ("damaged", "foreign")
    }
    lines = [
        f"damaged or foreign record, not counted: {reason or folder}"
        for folder, reason in list(reasons.items())[:MOST_RECORDS]
    ]
    rest = len(reasons) - len(lines)
    return [*lines, f"and {rest:,} more damaged or foreign records: see the runs without a score"] if rest else lines


def copied_runs(groups: Sequence[Group]) -> list[str]:
    """A warning about runs of which one is a copy of another configuration's."""
    kind = "runs of different configurations with the same times to the last digit, of which one is a copy"
    found = [text for text, _ in copies(groups)]
    return [f"{kind}: {listed_arms(found)}"] if found else []


def seeds_of_several_sweeps(groups: Sequence[Group]) -> list[str]:
    """A warning about arms without a study whose seeds several sweeps planned, none of them all, and about those to
    which pgolf.gate added seeds.
    """
    added = []
    for g in groups:
        sweeps: defaultdict[int, set[Any]] = defaultdict(set)
        for row in g.rows:
            for arm, sweep, _ in row["planned"] or []:
                if arm == g.arm:
                    sweeps[sweep].add(row["seed"])
        if len(sweeps) > 1 and set().union(*sweeps.values()) not in sweeps.values():
            added.append(g)
    lines = [f"{GATE}: {ADDED_BY_GATE}"] if any(g.study == GATE for g in groups) else []
    if not added:
        return lines
    counted = "1 arm was" if len(added) == 1 else f"{len(added)} arms were"
    return [
        *lines,
        f"seeds of {counted} planned by several sweeps: if seeds were added after a look at the table, its tests "
        "find too much; pgolf.gate and launch.seeds=auto have tests for that",
    ]


def listed_arms(arms: Sequence[str]) -> str:
    """Arms in a warning, at most MOST_ARMS of them. The notes of each arm repeat its caveats."""
    rest = len(arms) - MOST_ARMS
    return "; ".join(arms[:MOST_ARMS]) + (f"; and {rest:,} more arms, see their notes" if rest > 0 else "")


def first_line(error: Any) -> str:
    return str(error or "").split("\n")[0]


def warnings_of(groups: Sequence[Group], tables: Sequence[FamilyTable]) -> list[str]:
    """All caveats by kind, `kind: arm (text); arm (text)`, and what is missing from the plan."""
    by_kind: defaultdict[CaveatKind, list[str]] = defaultdict(list)
    one_study = len({table.family.study for table in tables}) == 1
    for table in tables:
        for row in table.rows:
            for caveat in row.caveats:
                arm = row.label if one_study else f"{row.group.study}/{row.label}"
                by_kind[caveat.kind].append(f"{arm} ({caveat.text})")
    lines = invalid_records(groups)
    lines += [f"{kind.value}: {listed_arms(list(dict.fromkeys(arms)))}" for kind, arms in by_kind.items()]
    cells = {(g.study, row["folder"]): row["status"] for g in groups for row in g.rows if row["planned"]}
    unscored = sum(status != "ok" for status in cells.values())
    if unscored:
        lines.insert(0, f"{unscored} of {len(cells)} planned runs have no ok record")
    lines += copied_runs(groups)
    without_plan = sorted({g.study for g in groups if g.planned is None})
    if without_plan:
        lines.append(f"no plan (sweep.json) for {', '.join(without_plan)}: missing runs cannot be detected")
    return lines
