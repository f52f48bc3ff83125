"""Ladders: families that hold the same arms at several numbers of tokens or parameters. Each arm's gap at every rung,
its slope per doubling within seeds, and the gap as effective speedup.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

from pgolf.records.kinds import is_amount
from pgolf.tables.comparable import difference_refusal
from pgolf.tables.drift import slope
from pgolf.tables.family import ArmRow, FamilyTable, row_of, uncompared
from pgolf.tables.groups import Group, seeds_text
from pgolf.tables.scaling import Law, Paired, Speedup, StepRatio, fit_law, in_time, speedup
from pgolf.tables.stats import ALPHA, TTest, one_sample

FIELD_OF = {"tokens": "tokens", "parameters": "params.total"}  # of a record, by what a ladder goes over
FEWEST_SEEDS = 2  # of a slope


@dataclass(frozen=True)
class Rung:
    """One family of a ladder. x: the baseline's tokens or parameters. rows: the arms by their position in the family;
    None without a planned run.
    """

    table: FamilyTable
    base: ArmRow
    x: float
    rows: tuple[ArmRow | None, ...]


@dataclass(frozen=True)
class Climb:
    """One arm over the rungs of a ladder. name: what its names share. seeds: those that arm and baseline have on every
    rung. gaps: arm - baseline in bpb, one test per rung by the study's method. slope: of the gap in bpb per doubling,
    with one value per seed. notes: what limits them.
    """

    name: str
    position: int
    rows: tuple[ArmRow, ...]
    seeds: tuple[int, ...]
    gaps: tuple[TTest, ...]
    slope: TTest
    notes: tuple[str, ...]

    @property
    def direction(self) -> str:
        """`rises` or `falls` if the slope has p < 0.05, else empty. It is a caution, so it is not corrected."""
        if self.slope.p is None or self.slope.difference is None or self.slope.p >= ALPHA:
            return ""
        return "rises" if self.slope.difference > 0 else "falls"


@dataclass(frozen=True)
class Ladder:
    """over: tokens or parameters. climbs: the compared arms. notes: families and arms that are left out, with reasons.
    refusal: why there is no ladder; empty if there is one.
    """

    title: str
    over: str
    rungs: tuple[Rung, ...] = ()
    climbs: tuple[Climb, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: str = ""


def ladder(title: str, over: str, tables: Sequence[FamilyTable]) -> Ladder:
    """The ladder through families, in their order. Families without a scored baseline are left out, with a note.

    It is refused if the baselines' tokens or parameters do not increase strictly, and if the baselines cannot be
    compared with one another.
    """
    rungs, notes = [], []
    for table in tables:
        found = rung(table, FIELD_OF[over], over)
        if isinstance(found, str):
            notes.append(f"{table.family.name} is left out: {found}")
        else:
            rungs.append(found)
    refusal = refusal_of(rungs, over)
    if refusal:
        return Ladder(title, over, tuple(rungs), (), tuple(notes), refusal)
    climbs = []
    for position, arm in enumerate(rungs[0].table.family.arms):
        if arm == rungs[0].table.family.baseline:
            continue
        climb = climb_of(position, rungs)
        if isinstance(climb, str):
            notes.append(climb)
        else:
            climbs.append(climb)
    return Ladder(title, over, tuple(rungs), tuple(climbs), tuple(notes))


def rung(table: FamilyTable, field: str, over: str) -> Rung | str:
    """A family as a rung, or why it cannot be one."""
    base = row_of(table.family.baseline or "", table)
    if base is None or base.mean_bpb is None:
        return "its baseline has no score"
    x = base.group.only(field)
    if not is_amount(x) or x <= 0:
        return f"the {over} of its baseline are not known, or not the same for all seeds"
    return Rung(table, base, float(x), tuple(row_of(arm, table) for arm in table.family.arms))


def refusal_of(rungs: Sequence[Rung], over: str) -> str:
    """Why rungs do not form a ladder; empty if they do."""
    if len(rungs) < 2:
        return "fewer than two families have a scored baseline"
    for before, after in pairwise(rungs):
        if after.x <= before.x:
            names = f"{before.table.family.name} ({before.x:,.0f}) and {after.table.family.name} ({after.x:,.0f})"
            return f"{over} do not increase between {names}. Name the families in the order of their {over}"
        refusal = difference_refusal(after.base.group, before.base.group)
        if refusal is not None:
            names = f"{after.table.family.name} and {before.table.family.name}"
            return f"the baselines of {names} cannot be compared: {refusal.text}"
    sizes = {one.base.group.only("params.total") for one in rungs}
    if over == "tokens" and len(sizes) > 1:
        return "the baselines have different numbers of parameters, so that the tokens are not all that differs"
    return ""


def climb_of(position: int, rungs: Sequence[Rung]) -> Climb | str:
    """One arm over all rungs, or why it has no place in the ladder."""
    names = [one.table.family.arms[position] for one in rungs]
    rows: list[ArmRow] = []
    tests: list[TTest] = []
    for one, arm in zip(rungs, names, strict=True):
        row = one.rows[position]
        reason = uncompared(row)
        test = None if row is None or row.comparison is None else row.comparison.test
        if reason or row is None or test is None:
            return f"{arm} is left out of the ladder: it {reason or 'is not compared'}"
        rows.append(row)
        tests.append(test)
    seeds = common_seeds([group for one, row in zip(rungs, rows, strict=True) for group in (one.base.group, row.group)])
    every = set().union(*(row.group.used for row in rows), *(one.base.group.used for one in rungs))
    lost = sorted(every - set(seeds))
    notes = [f"{seeds_text(lost)} not on every rung, and not in the slope"] if lost else []
    notes += [f"{row.label} {row.hindrance}" for row in rows if row.hindrance]
    label = shared_name([row.label for row in rows])
    x = [one.x for one in rungs]
    gaps = {seed: [gap_of(one.base, row, seed) for one, row in zip(rungs, rows, strict=True)] for seed in seeds}
    found = (
        one_sample([slope(x, gap) for gap in gaps.values()])
        if len(seeds) >= FEWEST_SEEDS
        else TTest("one-sample t", (len(seeds),), None, reason=few_seeds(len(seeds)))
    )
    return Climb(label, position, tuple(rows), seeds, tuple(tests), found, tuple(notes))


def few_seeds(count: int) -> str:
    return "1 seed is common to all rungs" if count == 1 else "no seed is common to all rungs"


def common_seeds(groups: Sequence[Group]) -> tuple[int, ...]:
    """The counted seeds that all groups have."""
    return tuple(sorted(set.intersection(*(set(group.used) for group in groups))))


def gap_of(base: ArmRow, row: ArmRow, seed: int) -> float:
    """The difference arm - baseline of one seed, in bpb."""
    return float(row.group.used[seed]["val_bpb"]) - float(base.group.used[seed]["val_bpb"])


def shared_name(labels: Sequence[str]) -> str:
    """One name for an arm that has another name on every rung: the words at the end that all names share, as `mos` of
    `S86_mos` and `S171_mos`, or else those at the beginning. Without any, the first and the last name.
    """
    words = [re.split(r"(?<=[_,/ ])", label) for label in labels]
    end = "".join(reversed(shared_words([list(reversed(of_label)) for of_label in words])))
    return end or "".join(shared_words(words)).rstrip("_,/ ") or f"{labels[0]} to {labels[-1]}"


def shared_words(words: Sequence[Sequence[str]]) -> list[str]:
    """The first words that all lists share."""
    return [at[0] for at in takewhile(lambda at: len(set(at)) == 1, zip(*words, strict=False))]


# ---- compute and time
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speeds:
    """The effective speedups of one arm, one per rung. times: in seconds; None without step times."""

    climb: Climb
    compute: tuple[Speedup, ...]
    times: tuple[Speedup, ...] | None


@dataclass(frozen=True)
class Effective:
    """laws: of the baseline by seed. misfits: mean residual of the laws at each rung, in bpb. refusal: why there is no
    law; empty if there is one.
    """

    laws: Mapping[int, Law]
    misfits: tuple[TTest, ...]
    speeds: tuple[Speeds, ...]
    refusal: str = ""


StepRatios = Mapping[tuple[str, str], StepRatio]  # (arm, baseline) -> time of a training token, arm / baseline


def effective(found: Ladder, ratios: StepRatios) -> Effective:
    """The baseline's laws and the arms' speedups. found: a ladder over tokens that is not refused."""
    assert found.over == "tokens", found.over
    bases = [one.base.group for one in found.rungs]
    seeds = common_seeds(bases)
    costs = {seed: [flops_of(base, seed) for base in bases] for seed in seeds}
    if not seeds:
        return Effective({}, (), (), "the baselines have no common seed")
    laws: dict[int, Law] = {}
    for seed, compute in costs.items():
        if any(math.isnan(c) for c in compute):
            return Effective({}, (), (), "records of the baseline do not have the FLOPs of all their training")
        if any(after <= before for before, after in pairwise(compute)):
            return Effective(
                {}, (), (), f"seed {seed}: the baseline's training FLOPs do not increase from rung to rung"
            )
        law = fit_law(compute, [float(base.used[seed]["val_bpb"]) for base in bases])
        if isinstance(law, str):
            return Effective({}, (), (), f"seed {seed}: {law}")
        laws[seed] = law
    misfits = tuple(one_sample([law.residuals[at] for law in laws.values()]) for at in range(len(bases)))
    return Effective(laws, misfits, tuple(speeds_of(climb, found.rungs, laws, ratios) for climb in found.climbs))


def flops_of(group: Group, seed: int) -> float:
    """Training FLOPs of one run; NaN if its record does not have them, or if it began with the weights of another."""
    run = group.used[seed]
    factors: list[Any] = [run.get("flops_per_token"), run.get("tokens")]
    if not all(map(is_amount, factors)) or run.get("from.fingerprint") is not None:
        return math.nan
    return float(factors[0]) * float(factors[1]) or math.nan


def speeds_of(climb: Climb, rungs: Sequence[Rung], laws: Mapping[int, Law], ratios: StepRatios) -> Speeds:
    ratio = step_ratio(climb, rungs, ratios)
    compute: list[Speedup] = []
    times: list[Speedup] = []
    for one, row in zip(rungs, climb.rows, strict=True):
        seeds = sorted(set(laws) & set(row.group.used))
        costs = {seed: (flops_of(row.group, seed), flops_of(one.base.group, seed)) for seed in seeds}
        if not seeds or any(math.isnan(c) for pair in costs.values() for c in pair):
            reason = "no seed has a law" if not seeds else "records do not have the FLOPs of all their training"
            found = Speedup(None, reason)
        else:
            found = speedup(laws, {seed: Paired(*costs[seed], gap_of(one.base, row, seed)) for seed in seeds})
        compute.append(found)
        flops = [group.only("flops_per_token") for group in (row.group, one.base.group)]
        if ratio is not None and all(map(is_amount, flops)):
            times.append(in_time(found, ratio, flops[0] / flops[1]))
    return Speeds(climb, tuple(compute), tuple(times) if len(times) == len(rungs) else None)


def step_ratio(climb: Climb, rungs: Sequence[Rung], ratios: StepRatios) -> StepRatio | None:
    """The ratio of step times of an arm, measured on any rung: its model is the same on all of them."""
    pairs = ((row.group.arm, one.base.group.arm) for one, row in zip(rungs, climb.rows, strict=True))
    return next((ratios[pair] for pair in pairs if pair in ratios), None)
