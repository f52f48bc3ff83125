"""How the decisions of a family read under other tests than the named one. Only the named test judges claims."""

import math
from dataclasses import dataclass

from pgolf.tables.contrast import Link, corrections, sample_of, samples_of, tests_of
from pgolf.tables.decision import Corrected, Decision
from pgolf.tables.family import ArmRow, FamilyTable, base_of
from pgolf.tables.methods import SENSITIVITY, Method, prior
from pgolf.tables.moderation import Prior


@dataclass(frozen=True)
class Sensitivity:
    """methods: the named test first. rows: each compared arm with its results, one per method. prior: of the moderated
    test, over all arms of the study. outliers: labels of arms whose variance it does not shrink.
    """

    methods: tuple[Method, ...]
    rows: tuple[tuple[ArmRow, tuple[Corrected | None, ...]], ...]
    prior: Prior | None
    outliers: tuple[str, ...]


def sensitivity(table: FamilyTable) -> Sensitivity | None:
    """The decisions under every test; None if nothing is compared."""
    bases = [base_of(row, table) for row in table.rows]
    links = [
        None
        if base is None or row.comparison is None or row.comparison.test is None
        else Link(row.group, base.group, base.label)
        for row, base in zip(table.rows, bases, strict=True)
    ]
    compared = [link for link in links if link is not None]
    if not compared:
        return None
    named = table.settings.method
    methods = (named, *(method for method in SENSITIVITY if method != named))
    members = [row.group for row in table.rows]
    comparisons = [row.comparison for row in table.rows]
    columns = []
    for method in methods:
        found = iter(tests_of(compared, method, table.study))
        tests = [None if link is None else next(found) for link in links]
        if method == named:  # arms that share checkpoints are paired
            tests = [None if row.comparison is None else row.comparison.test for row in table.rows]
        columns.append(corrections(members, comparisons, tests, table.absent, table.settings.rules))
    samples, _ = samples_of(compared)
    others = {g.fingerprint: sample_of(g) for g in table.study if g.refusal is None and g.fingerprint not in samples}
    common, positions = prior(list(samples.values()), list(others.values()))
    labels = {row.group.fingerprint: row.label for row in table.rows}
    outliers = tuple(labels[mark] for at, mark in enumerate(samples) if at in positions and mark in labels)
    rows = tuple(
        (row, tuple(column[at] for column in columns))
        for at, (row, link) in enumerate(zip(table.rows, links, strict=True))
        if link is not None
    )
    return Sensitivity(methods, rows, common, outliers)


def is_turned(row: ArmRow, results: tuple[Corrected | None, ...]) -> bool:
    """Whether another test gives another decision than the named one. A hindered arm is undecided under every test."""
    if row.hindrance is not None:
        return False
    return len({None if found is None else found.decision for found in results}) > 1


def result_decision(row: ArmRow, found: Corrected | None) -> Decision | None:
    """The decision under one test; UNDECIDED for a hindered arm."""
    if found is None:
        return None
    return Decision.UNDECIDED if row.hindrance is not None else found.decision


def prior_text(common: Prior | None) -> str:
    """The prior in words: how far the arms' variances agree."""
    if common is None:
        return "too few arms for a prior of the moderated test, which is Welch's here"
    df = "infinite" if math.isinf(common.df) else f"{common.df:.2g}"
    return (
        f"prior of the moderated test: sd {math.sqrt(common.variance):.5f} bpb with {df} degrees of freedom, from "
        f"{common.arms} arms of the study"
    )
