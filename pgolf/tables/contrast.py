"""An arm against its baseline: which test decides, what Holm makes of a family's tests, what its seeds can tell."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.tables.comparable import IDENTICAL, comparability, share_checkpoints
from pgolf.tables.groups import Caveat, Group
from pgolf.tables.stats import (
    Gate,
    Noise,
    TTest,
    correlation,
    detectable,
    gate,
    holm,
    paired,
    pooled_sd,
    seeds_needed,
    welch,
)


@dataclass(frozen=True)
class Settings:
    """pairs: the paired test was named beforehand. smallest_effect_bpb: the smallest difference that matters, > 0."""

    pairs: bool = False
    smallest_effect_bpb: float | None = None
    gate_nats: float = 0.005
    gate_p: float = 0.01


@dataclass(frozen=True)
class Comparison:
    """An arm against its baseline: arm - baseline in bpb. test decides; other_test and correlation are for the detail
    table.

    refused: why there is none of it; nats_refused: why nats and the gate are left out. pairs: arm - baseline of
    each seed that both have.
    """

    baseline: str
    refused: str | None
    nats_refused: str | None
    test: TTest | None = None
    other_test: TTest | None = None
    correlation: float | None = None
    gate: Gate | None = None
    pairs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Resolution:
    """What the seeds at hand can tell, in bpb. what: whose sd; seeds: the fewest that an arm has."""

    what: str
    noise: Noise
    seeds: int
    detectable_bpb: float | None
    smallest_effect_bpb: float | None
    seeds_needed: int | None


def baseline_of(g: Group, candidates: Sequence[Group]) -> Group | None:
    """The baseline's configuration to compare with: one of the same sweep, else a planned one, the latest first."""
    ranked = sorted(
        candidates, key=lambda b: (bool(b.sweeps & g.sweeps), bool(b.planned), max(b.sweeps, default=-1), -b.position)
    )
    return ranked[-1] if ranked else None


def compare_groups(g: Group, base: Group, label: str, settings: Settings) -> tuple[Comparison, list[Caveat]]:
    """An arm against its baseline, and what must be said beside it."""
    found = comparability(g, base)
    marks = list(found.marks)
    if found.refused:
        if g.used and not g.refused and g.fingerprint != base.fingerprint:
            marks.append(Caveat("arms without a difference to their baseline", f"no difference: {found.refused}"))
        return Comparison(label, found.refused, found.nats_refused), marks
    common = sorted(set(g.used) & set(base.used))
    mine, other = ([float(x.used[seed]["val_bpb"]) for seed in common] for x in (g, base))
    tests = {True: paired(mine, other), False: welch(g.values("val_bpb"), base.values("val_bpb"))}
    pairs = settings.pairs or share_checkpoints(g, base)
    dropped = sorted(set(g.used) ^ set(base.used))
    if pairs and dropped:
        marks.append(
            Caveat(
                "paired tests that leave seeds out",
                f"{len(common)} pairs; no pair for seed {', '.join(map(str, dropped))}",
            )
        )
    if pairs and not settings.pairs:
        marks.append(
            Caveat(
                "arms that share their baseline's checkpoints: paired test", "shares the baseline's checkpoints: paired"
            )
        )
    if tests[pairs].reason and min(tests[pairs].n) > 1:
        marks.append(Caveat("comparisons without a test", tests[pairs].reason or ""))
    nats_refused = found.nats_refused
    nats = [nats_of(x, common if pairs else None) for x in (g, base)]
    if nats_refused is None and not all(nats):
        nats_refused = "nats are missing in a record"
    gated = (
        None
        if nats_refused
        else gate(nats[0], nats[1], over_nats=settings.gate_nats, p_below=settings.gate_p, pairs=pairs)
    )
    r, differences = correlation(mine, other), tuple(x - y for x, y in zip(mine, other, strict=True))
    return Comparison(label, None, nats_refused, tests[pairs], tests[not pairs], r, gated, differences), marks


def nats_of(g: Group, seeds: Sequence[int] | None) -> list[float]:
    """Nats per token of the counted seeds, or of some of them; empty where a record has none."""
    if len(g.values("val_nats")) != g.n:
        return []
    return g.values("val_nats") if seeds is None else [float(g.used[seed]["val_nats"]) for seed in seeds]


def corrections(
    members: Sequence[Group], comparisons: Sequence[Comparison | None], absent: Sequence[str] = ()
) -> list[float | None]:
    """Holm's p over the family's planned comparisons; one configuration under two names is one of them, and refused
    ones are none.

    absent: arms of the family of which nothing has been found. They count: a part of a family must not pass for an
    easier whole.
    """
    entered: dict[str, float | None] = {}
    for g, comparison in zip(members, comparisons, strict=True):
        if comparison is not None and g.planned is not False and comparison.refused != IDENTICAL:
            entered.setdefault(g.fingerprint, comparison.test.p if comparison.test else None)
    entered |= {f"absent {arm}": None for arm in absent}
    adjusted = dict(zip(entered, holm(list(entered.values())), strict=True))
    return [
        adjusted.get(g.fingerprint) if c is not None and g.planned is not False and c.test is not None else None
        for g, c in zip(members, comparisons, strict=True)
    ]


def resolutions(
    groups: Sequence[Group], comparisons: Sequence[Comparison | None], settings: Settings
) -> tuple[Resolution, ...]:
    """Noise within retrained arms, and of the pairs' differences where arms are paired.

    Only arms that a difference was made of, and baselines, enter: another evaluation mode has another noise. One
    configuration enters once.
    """
    inside: dict[str, list[float]] = {}
    pairs: dict[str, tuple[float, ...]] = {}
    for g, comparison in zip(groups, comparisons, strict=True):
        test = None if comparison is None else comparison.test
        if comparison is not None and test is not None and test.name != "Welch":
            pairs[g.fingerprint] = comparison.pairs
        elif test is not None or (comparison is None and not g.refused):
            inside[g.fingerprint] = g.values("val_bpb")
    made = []
    if len(inside) > 1 or not pairs:
        made.append(resolution("seeds within an arm", list(inside.values()), False, settings))
    if pairs:
        made.append(resolution("the pairs' differences", list(pairs.values()), True, settings))
    return tuple(made)


def resolution(what: str, samples: Sequence[Sequence[float]], pairs: bool, settings: Settings) -> Resolution:
    noise, smallest = pooled_sd(samples), settings.smallest_effect_bpb
    seeds = min(map(len, samples), default=0)
    if noise.sd is None:
        return Resolution(what, noise, seeds, None, smallest, None)
    needed = None if smallest is None else seeds_needed(noise.sd, smallest, paired=pairs)
    return Resolution(what, noise, seeds, detectable(noise.sd, seeds, paired=pairs), smallest, needed)
