"""Caveats of groups within their family, and the warnings that stand above all tables."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pgolf.tables.caveats import FEWEST_SEEDS, Caveat, CaveatKind
from pgolf.tables.family import FamilyTable
from pgolf.tables.groups import TIMES, Group

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
    """A warning about counted runs of different configurations that took exactly the same times: one is a copy of the
    other. Copies within one configuration are left out by `groups.copied_seeds`.
    """
    runs: defaultdict[tuple[Any, ...], dict[str, str]] = defaultdict(dict)
    for g in groups:
        for seed, row in g.used.items():
            times = tuple(row.get(key) for key in TIMES)
            if None not in times:
                runs[times].setdefault(g.fingerprint, f"{g.arm} seed {seed}")
    copies = [" and ".join(found.values()) for found in runs.values() if len(found) > 1]
    kind = "runs of different configurations with the same times to the last digit, of which one is a copy"
    return [f"{kind}: {listed_arms(copies)}"] if copies else []


def added_seeds(groups: Sequence[Group]) -> list[str]:
    """A warning about arms without a study, if several sweeps planned their seeds and none of these has all."""
    added = []
    for g in groups:
        sweeps: defaultdict[int, set[Any]] = defaultdict(set)
        for row in g.rows:
            for arm, sweep, _ in row["planned"] or []:
                if arm == g.arm:
                    sweeps[sweep].add(row["seed"])
        if len(sweeps) > 1 and set().union(*sweeps.values()) not in sweeps.values():
            added.append(g)
    if not added:
        return []
    counted = "1 arm was" if len(added) == 1 else f"{len(added)} arms were"
    return [
        f"seeds of {counted} planned by several sweeps: if seeds were added after a look at the table, its tests "
        "find too much; pgolf.gate and launch.seeds=auto have tests for that"
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
