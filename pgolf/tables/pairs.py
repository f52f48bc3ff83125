"""Pairs of scores: two arms with common seeds, read from records, and the noise of an earlier study."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgolf.errors import PgolfError
from pgolf.records.contradictions import RUN_NAME
from pgolf.records.rows import Row, collect
from pgolf.tables.caveats import CaveatKind
from pgolf.tables.comparable import comparability
from pgolf.tables.groups import SHORT, SHUFFLE_SEED, Group, group, make_group
from pgolf.tables.methods import arm_and_seed
from pgolf.tables.sequential import EarlierNoise
from pgolf.tables.stats import Noise, pooled_sd

# Caveats that say nothing about a pair: other seeds of the arm, and the plan of a sweep.
UNRELATED = (
    *(CaveatKind.FAILED, CaveatKind.DIVERGED, CaveatKind.INTERRUPTED, CaveatKind.PRUNED, CaveatKind.MISSING),
    *(CaveatKind.UNPLANNED, CaveatKind.UNPLANNED_SEED, CaveatKind.EQUAL_SEEDS),
)
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Pairs:
    """Scores of common seeds, in bpb, in the order of the seeds. caveats: what limits their comparison, as text."""

    seeds: tuple[int, ...] = ()
    base: tuple[float, ...] = ()
    candidate: tuple[float, ...] = ()
    caveats: tuple[str, ...] = ()


def rows_of_arm(folder: Path) -> list[Row]:
    """The rows of one arm: of an arm's folder, or of a run's folder and of its other seeds beside it.

    `folder` of a row is the path of its run folder. Raises PgolfError if there are none, if a record is damaged or
    belongs to another run, or if the runs have several configurations.
    """
    folder = folder.resolve()
    match = RUN_NAME.fullmatch(folder.name)
    beside = sorted(folder.parent.glob(f"seed*-{match[2]}")) if match else [folder]
    rows = []
    for source in beside:
        rows += [
            {**row, "folder": str(source.joinpath(row["folder"])), "planned": None} for row in collect(source).rows
        ]
    for row in rows:
        if row["status"] in ("damaged", "foreign"):
            raise PgolfError(f"{row['folder']}: {row['error']}")
    if len({row["fingerprint"] for row in rows}) > 1:
        arms = sorted({f"{row['arm']} {row['fingerprint'][:SHORT]}" for row in rows})
        more = f" and {len(arms) - SHOWN} more" if len(arms) > SHOWN else ""
        raise PgolfError(
            f"{folder}: holds several configurations ({', '.join(arms[:SHOWN])}{more}). Give the folder of one arm, or "
            "of one run"
        )
    return rows


def pairs_of(base: Sequence[Row], candidate: Sequence[Row]) -> Pairs:
    """The pairs of two arms, each of one configuration. Rows without a score are left out.

    Raises PgolfError if their scores cannot be compared, or if the two saw their data in another order.
    """
    if not base or not candidate:
        return Pairs()
    groups = [make_group(rows[0]["study"], rows[0]["arm"], rows[0]["fingerprint"], rows) for rows in (base, candidate)]
    seeds = sorted(set(groups[0].used) & set(groups[1].used))
    if not seeds:
        return Pairs()
    limits = comparability(groups[1], groups[0])
    if limits.refusal is not None:
        raise PgolfError(f"BASE and CANDIDATE: cannot be compared: {limits.refusal.text}. Give both the same text")
    for seed in seeds:
        orders = [g.used[seed].get(SHUFFLE_SEED) for g in groups]
        if orders[0] != orders[1]:
            raise PgolfError(other_order(seed, *orders))
    caveats = [caveat.text for caveat in limits.caveats]
    for side, one in zip(("base", "candidate"), groups, strict=True):
        caveats += [f"{side}: {caveat.text}" for caveat in one.caveats if caveat.kind not in UNRELATED]
    scores = [tuple(float(g.used[seed]["val_bpb"]) for seed in seeds) for g in groups]
    return Pairs(tuple(seeds), scores[0], scores[1], tuple(dict.fromkeys(caveats)))


def other_order(seed: int, base: object, candidate: object) -> str:
    """The error message about two runs of a seed that see the data in different orders."""
    return (
        f"data.shuffle_seed: differs between the two at seed {seed} ({base}, {candidate}), so that they are not a "
        "pair. Give both the same"
    )


def noise_of_rows(rows: Iterable[Row], without: Collection[str], *, by_seed: bool = False) -> tuple[EarlierNoise, int]:
    """(the noise of a difference between two arms, the number of arms that it comes from) from the runs of a study.

    The standard deviation between the seeds of an arm, pooled over the arms, times sqrt(2): the difference of two arms
    that are independent. Arms whose seeds go up and down together differ by less. by_seed: what a seed does to all arms
    alike is taken out first. without: fingerprints of the arms that are compared, since their scores would count twice.
    Raises PgolfError if the other arms do not show any noise.
    """
    by_configuration: dict[str, Group] = {}
    for one in group(rows):
        if one.fingerprint not in without and one.refusal is None:
            by_configuration.setdefault(one.fingerprint, one)
    scores = [{seed: float(row["val_bpb"]) for seed, row in one.used.items()} for one in by_configuration.values()]
    noise = residual_sd(scores) if by_seed else pooled_sd([list(of_arm.values()) for of_arm in scores])
    if not noise.sd:
        wanted = "arms with several common seeds" if by_seed else "an arm with several seeds"
        raise PgolfError(
            f"--noise-from: shows no noise, since it does not have {wanted} besides the two that are compared. Give "
            "rows of a study with more seeds, or --noise estimated"
        )
    return EarlierNoise(noise.sd * math.sqrt(2), noise.df), noise.groups


def residual_sd(arms: Sequence[Mapping[int, float]]) -> Noise:
    """The standard deviation of what arm and seed do not explain together: the residuals of a two-way layout, fitted by
    least squares. arms: {seed: score} of each.
    """
    fit = arm_and_seed(arms)
    return Noise(fit.sd, fit.df, len(arms)) if fit.df else Noise(None, 0, 0, "no two arms have two common seeds")
