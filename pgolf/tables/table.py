"""Groups -> the tables of a study, as numbers: means, differences to a family's baseline, noise and the threshold.

A family is one question. Each of its arms is compared with its baseline by one two-sided test; Holm's method corrects
the tests of a family together.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgolf.records.rows import Collected
from pgolf.tables.caveats import Caveat, CaveatKind
from pgolf.tables.contrast import (
    Link,
    Settings,
    baseline_of,
    compare_family,
    copies,
    corrections,
    hindrance,
    hindrance_of_pair,
    prior_df,
    seeds_of_sweeps,
)
from pgolf.tables.family import ArmRow, Family, FamilyTable
from pgolf.tables.groups import Group, differing_keys, group, seeds_text
from pgolf.tables.labels import baselines, label_of, parts_of_arms, parts_of_studies, shared_parts, short_names
from pgolf.tables.notices import first_line, group_caveats, warnings_of
from pgolf.tables.resolution import resolutions
from pgolf.tables.stats import spread


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

    @property
    def correction(self) -> str:
        """The name of the correction over the comparisons of a family."""
        return next((table.settings.rules.correction for table in self.families), "Holm")


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
    copied = {
        study: {key: text for text, keys in copies(of_study) for key in keys} for study, of_study in by_study.items()
    }
    tables = tuple(
        family_table(family, by_study[family.study], labels, settings, copied.get(family.study, {}))
        for family in families
    )
    unscored = tuple(
        Unscored(labels[id(g)], row["seed"], row["status"], first_line(row.get("error")))
        for g in groups
        for row in g.rows
        if row["status"] != "ok"
    )
    return Tables((*collected.warnings, *warnings_of(groups, tables)), tables, unscored)


def adhoc_families(groups: Sequence[Group], baseline: str | None) -> list[Family]:
    """One family per study. baseline: an arm by its full name, its name in the tables, or options of it alone."""
    parts = parts_of_studies(groups)
    bases = {} if baseline is None else baselines(baseline, parts)
    return [Family(study, study, tuple(arms), bases.get(study, next(iter(arms)))) for study, arms in parts.items()]


def left_over(groups: Sequence[Group], families: Sequence[Family]) -> list[Family]:
    """The arms that are in none of the families, as one family per study without a comparison."""
    in_a_family = {(family.study, arm) for family in families for arm in family.arms}
    rest: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for g in groups:
        if (g.study, g.arm) not in in_a_family:
            rest[g.study][g.arm] = None
    return [Family(f"{study}: in no family", study, tuple(arms), None) for study, arms in rest.items() if arms]


def family_table(
    family: Family,
    groups: Sequence[Group],
    labels: Mapping[int, str],
    settings: Settings,
    copied: Mapping[str, str],
) -> FamilyTable:
    """The family's arms, planned ones first, each compared with the baseline. groups: all of the family's study.
    copied: {fingerprint: the copy and the run} among them.
    """
    order = {arm: number for number, arm in enumerate(family.arms)}
    members = sorted((g for g in groups if g.arm in order), key=lambda g: (g.planned is False, order[g.arm]))
    candidates = [g for g in members if g.arm == family.baseline]
    differing = differing_keys(members)
    names: defaultdict[str, list[str]] = defaultdict(list)
    for g in members:
        names[g.fingerprint].append(labels[id(g)])
    bases = [None if g.arm == family.baseline else baseline_of(g, candidates) for g in members]
    links = [None if base is None else Link(g, base, labels[id(base)]) for g, base in zip(members, bases, strict=True)]
    found = compare_family(links, settings, groups)
    planned, holes = planned_seeds(members, groups, family)
    added = {id(g): [] if settings.method.is_sequential else added_caveats(family.added_seeds(g)) for g in members}
    hindrances = [
        hindrance(g, planned[id(g)], copied)
        if link is None or comparison is None
        else hindrance_of_pair(
            link, comparison, limits, planned, copied, settings.method, unequal_budgets=family.unequal_budgets
        )
        for g, link, (comparison, limits) in zip(members, links, found, strict=True)
    ]
    comparisons = [comparison for comparison, _ in found]
    absent = tuple(a for a in family.arms if a != family.baseline and all(g.arm != a for g in members))
    tests = [None if c is None else c.test for c in comparisons]
    corrected = corrections(members, comparisons, tests, absent, settings.rules)
    rows = tuple(
        ArmRow(
            labels[id(g)],
            g,
            g.arm == family.baseline,
            None if g.refusal else g.mean("val_bpb"),
            spread(g.values("val_bpb")) if g.n > 1 and not g.refusal else None,
            comparisons[at],
            corrected[at],
            (
                *g.caveats,
                *holes[id(g)],
                *added[id(g)],
                *group_caveats(g, labels[id(g)], names[g.fingerprint]),
                *found[at][1],
            ),
            {key: values[at] for key, values in differing.items()},
            hindrances[at],
            planned[id(g)],
        )
        for at, g in enumerate(members)
    )
    parts = parts_of_arms(groups)
    shared = shared_parts(parts) if any(short != arm for arm, short in short_names(parts).items()) else ()
    noise = resolutions(members, comparisons, len(absent), settings, prior_df(groups, settings.method))
    return FamilyTable(family, rows, shared, noise, settings, absent, tuple(groups))


def planned_seeds(
    members: Sequence[Group], groups: Sequence[Group], family: Family
) -> tuple[dict[int, int], dict[int, list[Caveat]]]:
    """(number of planned seeds, caveats about planned seeds without a row), by id of the group. groups: of a study.

    The seeds of the study's file are planned for every arm as soon as one of them has run. A command that runs other
    seeds instead has a plan of its own.
    """
    of_sweeps, of_file = seeds_of_sweeps(groups), set(family.planned_seeds)
    of_file = of_file if any(row["seed"] in of_file for g in groups for row in g.rows) else set()
    seeds = {
        id(g): set().union(*(of_sweeps.get(sweep, set()) for sweep in g.sweeps), () if g.planned is False else of_file)
        for g in members
    }
    own = {id(g): {row["seed"] for row in g.rows} for g in members}
    holes = {key: sorted(planned - own[key], key=str) for key, planned in seeds.items()}
    caveats = {
        key: [Caveat(CaveatKind.MISSING, f"{seeds_text(lost)} planned, but without a row")] if lost else []
        for key, lost in holes.items()
    }
    return {key: len(planned) for key, planned in seeds.items()}, caveats


def added_caveats(seeds: Sequence[int]) -> list[Caveat]:
    """The caveat of an arm with seeds that were added to the planned ones."""
    return [Caveat(CaveatKind.ADDED_SEEDS, f"{seeds_text(seeds)} added")] if seeds else []
