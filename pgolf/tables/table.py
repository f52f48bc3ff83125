"""Groups -> the table of a study: means, differences to a family's baseline, noise and gate. Nothing here is text for a
page.

One family is one question: its arms are compared with its baseline by one two-sided test each, corrected together
(Holm).
"""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgolf.errors import PgolfError
from pgolf.records.rows import Collected
from pgolf.tables.contrast import (
    Comparison,
    Resolution,
    Settings,
    baseline_of,
    compare_groups,
    corrections,
    resolutions,
)
from pgolf.tables.groups import SHORT, Caveat, Group, differing_keys, group
from pgolf.tables.stats import spread

FEWEST_SEEDS = 3
MOST_NAMED = 200  # arms in one warning
MOST_FAULTS = 20  # damaged or foreign records that are named among the warnings


@dataclass(frozen=True)
class Family:
    """Arms of one study that are compared with one baseline arm, in the order shown. baseline: None where nothing is
    compared.
    """

    name: str
    study: str
    arms: tuple[str, ...]
    baseline: str | None


@dataclass(frozen=True)
class ArmRow:
    """One line of the table. `extra`: further cells by column title (a published value, a verdict)."""

    label: str
    group: Group
    is_baseline: bool
    mean_bpb: float | None
    sd_bpb: float | None
    comparison: Comparison | None
    holm_p: float | None
    marks: tuple[Caveat, ...]
    differing: Mapping[str, Any]
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FamilyTable:
    """shared: parts that all the study's arm names share, which labels leave out."""

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
    """Warnings come first, wherever this is shown."""

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

    families: by default one for each study, of all its arms, with `baseline` or its first planned arm as the baseline.
    Arms in no given family are shown by themselves. Raises PgolfError for a baseline that is no arm.
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
    """One family for each study. baseline: an arm's name, whole or as the tables shorten it."""
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for g in groups:
        found[g.study][g.arm] = None
    arms = {study: list(names) for study, names in found.items()}
    named = {
        study: {**{short: arm for arm, short in short_names(names).items()}, **{arm: arm for arm in names}}
        for study, names in arms.items()
    }
    if baseline is not None and not any(baseline in names for names in named.values()):
        known = list(dict.fromkeys(short for names in arms.values() for short in short_names(names).values()))
        near = difflib.get_close_matches(baseline, known, 1)
        raise PgolfError(
            f"--baseline: no such arm ({baseline}). {f'Did you mean {near[0]}? ' if near else ''}Arms: "
            f"{' '.join(known)}"
        )
    return [
        Family(study, study, tuple(names), named[study].get(baseline or "", names[0])) for study, names in arms.items()
    ]


def left_over(groups: Sequence[Group], families: Sequence[Family]) -> list[Family]:
    """Arms that no family names, compared with nothing."""
    named = {(family.study, arm) for family in families for arm in family.arms}
    rest: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for g in groups:
        if (g.study, g.arm) not in named:
            rest[g.study][g.arm] = None
    return [Family(f"{study}: in no family", study, tuple(arms), None) for study, arms in rest.items() if arms]


def shared_parts(arms: Sequence[str]) -> tuple[str, ...]:
    """The `key=value` parts that every one of several arm names holds, as the names of a sweep without a study do."""
    if len(arms) < 2:
        return ()
    return tuple(part for part in arms[0].split(",") if "=" in part and all(part in arm.split(",") for arm in arms[1:]))


def short_names(arms: Sequence[str]) -> dict[str, str]:
    """Arm names without what they share; as they are where that would make two alike."""
    shared = shared_parts(arms)
    short = {arm: ",".join(part for part in arm.split(",") if part not in shared) or "default" for arm in arms}
    return short if len(set(short.values())) == len(short) else {arm: arm for arm in arms}


def label_of(groups: Sequence[Group]) -> dict[int, str]:
    """A name for each group, by id: its arm's short name, with the configuration's fingerprint where an arm has
    several.
    """
    times: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for g in groups:
        times[g.study][g.arm] += 1
    short = {study: short_names(list(arms)) for study, arms in times.items()}
    return {
        id(g): short[g.study][g.arm] + (f" [{g.fingerprint[:SHORT]}]" if times[g.study][g.arm] > 1 else "")
        for g in groups
    }


def family_table(family: Family, groups: Sequence[Group], labels: Mapping[int, str], settings: Settings) -> FamilyTable:
    """The family's arms, planned ones first, each against its baseline. groups: those of the family's study."""
    order = {arm: number for number, arm in enumerate(family.arms)}
    members = sorted((g for g in groups if g.arm in order), key=lambda g: (g.planned is False, order[g.arm]))
    candidates = [g for g in members if g.arm == family.baseline]
    differing = differing_keys(members)
    namesakes: defaultdict[str, list[str]] = defaultdict(list)
    for g in members:
        namesakes[g.fingerprint].append(labels[id(g)])
    comparisons: list[Comparison | None] = []
    marks: list[tuple[Caveat, ...]] = []
    for g in members:
        base = None if g.arm == family.baseline else baseline_of(g, candidates)
        made, said = (None, []) if base is None else compare_groups(g, base, labels[id(base)], settings)
        comparisons.append(made)
        marks.append((*g.marks, *own_marks(g, labels[id(g)], namesakes[g.fingerprint]), *said))
    corrected = corrections(
        members, comparisons, [a for a in family.arms if a != family.baseline and all(g.arm != a for g in members)]
    )
    rows = tuple(
        ArmRow(
            labels[id(g)],
            g,
            g.arm == family.baseline,
            None if g.refused else g.mean("val_bpb"),
            spread(g.values("val_bpb")) if g.n > 1 and not g.refused else None,
            comparisons[at],
            corrected[at],
            marks[at],
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
    """Why an arm's scores cannot stand beside its baseline's."""
    if row is None or row.mean_bpb is None:
        return "has no score"
    refused = None if row.comparison is None else row.comparison.refused
    return f"cannot be compared: {refused}" if refused else None


def base_of(row: ArmRow, table: FamilyTable) -> ArmRow | None:
    """The row that an arm was compared with: of several configurations of the baseline one of the same sweep. None
    where there is none.
    """
    made = row.comparison
    if made is None or made.refused is not None:
        return None
    return next((other for other in table.rows if other.is_baseline and other.label == made.baseline), None)


def own_marks(g: Group, label: str, namesakes: Sequence[str]) -> list[Caveat]:
    """What is to be said of a group by itself and beside the family's others."""
    marks = []
    if g.refused and g.used:
        marks.append(Caveat("arms whose seeds have no common mean", g.refused))
    if g.n < FEWEST_SEEDS:
        marks.append(Caveat(f"fewer than {FEWEST_SEEDS} seeds", f"n = {g.n}, fewer than {FEWEST_SEEDS}"))
    if len(namesakes) > 1:
        others = ", ".join(name for name in namesakes if name != label)
        marks.append(Caveat("arms of one configuration under several names", f"same configuration as {others}"))
    return marks


def faults(groups: Sequence[Group]) -> list[str]:
    """Why each damaged or foreign record is in no mean; of very many the first."""
    found = {
        row["folder"]: first_line(row.get("error"))
        for g in groups
        for row in g.rows
        if row["status"] in ("damaged", "foreign")
    }
    lines = [
        f"damaged or foreign record, in no mean: {why or folder}" for folder, why in list(found.items())[:MOST_FAULTS]
    ]
    left = len(found) - len(lines)
    return [*lines, f"and {left:,} more damaged or foreign records: see the runs without a score"] if left else lines


def some(arms: Sequence[str]) -> str:
    """Arms in a warning; of very many the first, since each one's own notes say it too."""
    left = len(arms) - MOST_NAMED
    return "; ".join(arms[:MOST_NAMED]) + (f"; and {left:,} more arms, as their notes say" if left > 0 else "")


def first_line(error: Any) -> str:
    return str(error or "").split("\n")[0]


def warnings_of(groups: Sequence[Group], tables: Sequence[FamilyTable]) -> list[str]:
    """Everything marked, by kind: `kind: arm (text); arm (text)`."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    one_study = len({table.family.study for table in tables}) == 1
    for table in tables:
        for row in table.rows:
            for mark in row.marks:
                where = row.label if one_study else f"{row.group.study}/{row.label}"
                kinds[mark.kind].append(f"{where} ({mark.text})")
    lines = [*faults(groups), *(f"{kind}: {some(list(dict.fromkeys(told)))}" for kind, told in kinds.items())]
    cells = {(g.study, row["folder"]): row["status"] for g in groups for row in g.rows if row["planned"]}
    lacking = sum(status != "ok" for status in cells.values())
    if lacking:
        lines.insert(0, f"{lacking} of {len(cells)} planned cells have no ok record")
    without_plan = sorted({g.study for g in groups if g.planned is None})
    if without_plan:
        lines.append(f"no plan (sweep.json) for {', '.join(without_plan)}: cells that are missing cannot be known")
    return lines
