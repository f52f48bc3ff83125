"""Groups -> the tables of a study, as numbers: means, differences to a family's baseline, noise and gate.

A family is one question. Each of its arms is compared with its baseline by one two-sided test; Holm's method corrects
the tests of a family together.
"""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgolf.errors import PgolfError
from pgolf.records.rows import Collected
from pgolf.tables.caveats import FEWEST_SEEDS, Caveat, CaveatKind
from pgolf.tables.contrast import (
    Comparison,
    Resolution,
    Settings,
    baseline_of,
    compare_groups,
    corrections,
    resolutions,
)
from pgolf.tables.groups import SHORT, Group, differing_keys, group
from pgolf.tables.stats import spread

MOST_ARMS = 200  # in one warning
MOST_RECORDS = 20  # damaged or foreign records in the warnings


@dataclass(frozen=True)
class Family:
    """Arms of one study, in display order, and the baseline arm that they are compared with; None for no comparison."""

    name: str
    study: str
    arms: tuple[str, ...]
    baseline: str | None


@dataclass(frozen=True)
class ArmRow:
    """One row of a table. extra: further cells by column title (a published value, a verdict)."""

    label: str
    group: Group
    is_baseline: bool
    mean_bpb: float | None
    sd_bpb: float | None
    comparison: Comparison | None
    holm_p: float | None
    caveats: tuple[Caveat, ...]
    differing: Mapping[str, Any]
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FamilyTable:
    """shared: the parts common to all arm names of the study. Labels leave them out."""

    family: Family
    rows: tuple[ArmRow, ...]
    shared: tuple[str, ...]
    noise: tuple[Resolution, ...]
    settings: Settings


@dataclass(frozen=True)
class Unscored:
    """A run without a score."""

    label: str
    seed: Any
    status: str
    error: str


@dataclass(frozen=True)
class Tables:
    """The tables of everything collected. Every page shows the warnings first."""

    warnings: tuple[str, ...]
    families: tuple[FamilyTable, ...]
    unscored: tuple[Unscored, ...]


def tabulate(
    collected: Collected,
    *,
    families: Sequence[Family] | None = None,
    baseline: str | None = None,
    settings: Settings | None = None,
) -> Tables:
    """The tables of everything collected.

    families: by default one per study, with all its arms, compared with `baseline` or with its first planned arm. Arms
    that are in none of the given families get a table without a comparison. Raises PgolfError if `baseline` is not an
    arm.
    """
    settings = settings or Settings()
    groups = group(collected.rows)
    families = adhoc_families(groups, baseline) if families is None else [*families, *left_over(groups, families)]
    labels = label_of(groups)
    by_study: defaultdict[str, list[Group]] = defaultdict(list)
    for g in groups:
        by_study[g.study].append(g)
    tables = tuple(family_table(family, by_study[family.study], labels, settings) for family in families)
    unscored = tuple(
        Unscored(labels[id(g)], row["seed"], row["status"], first_line(row.get("error")))
        for g in groups
        for row in g.rows
        if row["status"] != "ok"
    )
    return Tables((*collected.warnings, *warnings_of(groups, tables)), tables, unscored)


def adhoc_families(groups: Sequence[Group], baseline: str | None) -> list[Family]:
    """One family per study. baseline: an arm's full name, or its short name in the tables."""
    by_study: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for g in groups:
        by_study[g.study][g.arm] = None
    arms = {study: list(names) for study, names in by_study.items()}
    arm_by_name = {
        study: {**{short: arm for arm, short in short_names(names).items()}, **{arm: arm for arm in names}}
        for study, names in arms.items()
    }
    if baseline is not None and not any(baseline in names for names in arm_by_name.values()):
        labels = list(dict.fromkeys(short for names in arms.values() for short in short_names(names).values()))
        near = difflib.get_close_matches(baseline, labels, 1)
        raise PgolfError(
            f"--baseline: no such arm ({baseline}). {f'Did you mean {near[0]}? ' if near else ''}Arms: "
            f"{' '.join(labels)}"
        )
    return [
        Family(study, study, tuple(names), arm_by_name[study].get(baseline or "", names[0]))
        for study, names in arms.items()
    ]


def left_over(groups: Sequence[Group], families: Sequence[Family]) -> list[Family]:
    """The arms that are in none of the families, as one family per study without a comparison."""
    in_a_family = {(family.study, arm) for family in families for arm in family.arms}
    rest: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for g in groups:
        if (g.study, g.arm) not in in_a_family:
            rest[g.study][g.arm] = None
    return [Family(f"{study}: in no family", study, tuple(arms), None) for study, arms in rest.items() if arms]


def shared_parts(arms: Sequence[str]) -> tuple[str, ...]:
    """The `key=value` parts common to several arm names, as in a sweep without a study; none for a single name."""
    if len(arms) < 2:
        return ()
    return tuple(part for part in arms[0].split(",") if "=" in part and all(part in arm.split(",") for arm in arms[1:]))


def short_names(arms: Sequence[str]) -> dict[str, str]:
    """Arm names without their common parts; unchanged if two names would become equal."""
    shared = shared_parts(arms)
    short = {arm: ",".join(part for part in arm.split(",") if part not in shared) or "default" for arm in arms}
    return short if len(set(short.values())) == len(short) else {arm: arm for arm in arms}


def label_of(groups: Sequence[Group]) -> dict[int, str]:
    """A label for each group, by id: its arm's short name, with its fingerprint if the arm has several."""
    times: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for g in groups:
        times[g.study][g.arm] += 1
    short = {study: short_names(list(arms)) for study, arms in times.items()}
    return {
        id(g): short[g.study][g.arm] + (f" [{g.fingerprint[:SHORT]}]" if times[g.study][g.arm] > 1 else "")
        for g in groups
    }


def family_table(family: Family, groups: Sequence[Group], labels: Mapping[int, str], settings: Settings) -> FamilyTable:
    """The family's arms, planned ones first, each compared with the baseline. groups: all of the family's study."""
    order = {arm: number for number, arm in enumerate(family.arms)}
    members = sorted((g for g in groups if g.arm in order), key=lambda g: (g.planned is False, order[g.arm]))
    candidates = [g for g in members if g.arm == family.baseline]
    differing = differing_keys(members)
    names: defaultdict[str, list[str]] = defaultdict(list)
    for g in members:
        names[g.fingerprint].append(labels[id(g)])
    comparisons: list[Comparison | None] = []
    caveats: list[tuple[Caveat, ...]] = []
    for g in members:
        base = None if g.arm == family.baseline else baseline_of(g, candidates)
        comparison, limits = (None, []) if base is None else compare_groups(g, base, labels[id(base)], settings)
        comparisons.append(comparison)
        caveats.append((*g.caveats, *group_caveats(g, labels[id(g)], names[g.fingerprint]), *limits))
    corrected = corrections(
        members, comparisons, [a for a in family.arms if a != family.baseline and all(g.arm != a for g in members)]
    )
    rows = tuple(
        ArmRow(
            labels[id(g)],
            g,
            g.arm == family.baseline,
            None if g.refusal else g.mean("val_bpb"),
            spread(g.values("val_bpb")) if g.n > 1 and not g.refusal else None,
            comparisons[at],
            corrected[at],
            caveats[at],
            {key: values[at] for key, values in differing.items()},
        )
        for at, g in enumerate(members)
    )
    arms = list(dict.fromkeys(g.arm for g in groups))
    shared = shared_parts(arms) if any(short != arm for arm, short in short_names(arms).items()) else ()
    return FamilyTable(family, rows, shared, resolutions(members, comparisons, settings), settings)


def row_of(arm: str, table: FamilyTable) -> ArmRow | None:
    """The configuration that represents an arm: that of its latest sweep. Unplanned configurations are ignored."""
    rows = [row for row in table.rows if row.group.arm == arm and row.group.planned is not False]
    return max(rows, key=lambda row: max(row.group.sweeps, default=-1), default=None)


def uncompared(row: ArmRow | None) -> str | None:
    """Why an arm's scores cannot be compared with its baseline's; None if they can."""
    if row is None or row.mean_bpb is None:
        return "has no score"
    refusal = None if row.comparison is None else row.comparison.refusal
    return None if refusal is None else f"cannot be compared: {refusal.text}"


def base_of(row: ArmRow, table: FamilyTable) -> ArmRow | None:
    """The baseline's row that an arm was compared with; None without a difference. Of several configurations of the
    baseline it is the one that `baseline_of` chose.
    """
    comparison = row.comparison
    if comparison is None or comparison.refusal is not None:
        return None
    return next((other for other in table.rows if other.is_baseline and other.label == comparison.baseline), None)


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
    without_plan = sorted({g.study for g in groups if g.planned is None})
    if without_plan:
        lines.append(f"no plan (sweep.json) for {', '.join(without_plan)}: missing runs cannot be detected")
    return lines
