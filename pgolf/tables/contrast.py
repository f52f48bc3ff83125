"""Comparisons of arms with their baseline: the test that decides, Holm's correction in a family, and the noise between
seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.tables.caveats import Caveat, CaveatKind, Refusal, RefusalKind
from pgolf.tables.comparable import comparability, share_checkpoints
from pgolf.tables.groups import Group
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
    """The difference arm - baseline, in bpb. `test` decides; other_test and correlation are for the table of details.

    baseline: its label. refusal: why there is no difference. nats_refusal: why nats and the gate are left out.
    is_paired: whether `test` is the paired one. pairs: arm - baseline for each seed that both have.
    """

    baseline: str
    refusal: Refusal | None
    nats_refusal: str | None
    is_paired: bool = False
    test: TTest | None = None
    other_test: TTest | None = None
    correlation: float | None = None
    gate: Gate | None = None
    pairs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Resolution:
    """The noise between seeds and the differences that can be detected, in bpb. source: whose sd. seeds: the smallest
    number that an arm has.
    """

    source: str
    noise: Noise
    seeds: int
    detectable_bpb: float | None
    smallest_effect_bpb: float | None
    seeds_needed: int | None


def baseline_of(g: Group, candidates: Sequence[Group]) -> Group | None:
    """The baseline's configuration to compare with: preferably of the same sweep, then planned, then the latest."""
    ranked = sorted(
        candidates, key=lambda b: (bool(b.sweeps & g.sweeps), bool(b.planned), max(b.sweeps, default=-1), -b.position)
    )
    return ranked[-1] if ranked else None


def compare_groups(g: Group, base: Group, label: str, settings: Settings) -> tuple[Comparison, list[Caveat]]:
    """The comparison of an arm with its baseline, and its caveats. label: of the baseline."""
    limits = comparability(g, base)
    caveats, refusal = list(limits.caveats), limits.refusal
    if refusal is not None:
        if g.used and g.refusal is None and refusal.kind is not RefusalKind.SAME_CONFIGURATION:
            caveats.append(Caveat(CaveatKind.NO_DIFFERENCE, f"no difference: {refusal.text}"))
        return Comparison(label, refusal, limits.nats_refusal), caveats
    common = sorted(set(g.used) & set(base.used))
    scores, base_scores = ([float(x.used[seed]["val_bpb"]) for seed in common] for x in (g, base))
    tests = {True: paired(scores, base_scores), False: welch(g.values("val_bpb"), base.values("val_bpb"))}
    is_paired = settings.pairs or share_checkpoints(g, base)
    dropped = sorted(set(g.used) ^ set(base.used))
    if is_paired and dropped:
        text = f"{len(common)} pairs; no pair for seed {', '.join(map(str, dropped))}"
        caveats.append(Caveat(CaveatKind.SEEDS_WITHOUT_PAIR, text))
    if is_paired and not settings.pairs:
        caveats.append(Caveat(CaveatKind.SHARED_CHECKPOINTS, "shares the baseline's checkpoints: paired"))
    if tests[is_paired].p is None and min(tests[is_paired].n) > 1:
        caveats.append(Caveat(CaveatKind.NO_TEST, tests[is_paired].reason or ""))
    nats_refusal = limits.nats_refusal
    nats = [nats_of(x, common if is_paired else None) for x in (g, base)]
    if nats_refusal is None and not all(nats):
        nats_refusal = "nats are missing in a record"
    gated = (
        None
        if nats_refusal
        else gate(nats[0], nats[1], over_nats=settings.gate_nats, p_below=settings.gate_p, pairs=is_paired)
    )
    comparison = Comparison(
        label,
        None,
        nats_refusal,
        is_paired,
        tests[is_paired],
        tests[not is_paired],
        correlation(scores, base_scores),
        gated,
        tuple(x - y for x, y in zip(scores, base_scores, strict=True)),
    )
    return comparison, caveats


def nats_of(g: Group, seeds: Sequence[int] | None) -> list[float]:
    """Nats per token of the counted seeds, or of `seeds`; empty if a record has none."""
    if len(g.values("val_nats")) != g.n:
        return []
    return g.values("val_nats") if seeds is None else [float(g.used[seed]["val_nats"]) for seed in seeds]


def corrections(
    members: Sequence[Group], comparisons: Sequence[Comparison | None], absent: Sequence[str] = ()
) -> list[float | None]:
    """Holm's p over the family's planned comparisons, one per member; None where it has none.

    One configuration under two names is one hypothesis. absent: arms of the family without any run. Each counts as a
    hypothesis, so that a part of a family is not corrected less than the whole.
    """
    entered: dict[str, float | None] = {}
    for g, comparison in zip(members, comparisons, strict=True):
        if comparison is not None and g.planned is not False and not is_same(comparison):
            entered.setdefault(g.fingerprint, comparison.test.p if comparison.test else None)
    adjusted = dict(zip(entered, holm([*entered.values(), *(None for _ in set(absent))]), strict=False))
    return [
        adjusted.get(g.fingerprint) if c is not None and g.planned is not False and c.test is not None else None
        for g, c in zip(members, comparisons, strict=True)
    ]


def is_same(comparison: Comparison) -> bool:
    """Whether the arm has the configuration of its baseline."""
    return comparison.refusal is not None and comparison.refusal.kind is RefusalKind.SAME_CONFIGURATION


def resolutions(
    groups: Sequence[Group], comparisons: Sequence[Comparison | None], settings: Settings
) -> tuple[Resolution, ...]:
    """The noise between the seeds of an arm, and that of the pairs' differences if arms are paired.

    Only baselines and arms with a difference are pooled, since the noise depends on the evaluation mode. Each
    configuration is pooled once.
    """
    inside: dict[str, list[float]] = {}
    pairs: dict[str, tuple[float, ...]] = {}
    for g, comparison in zip(groups, comparisons, strict=True):
        test = None if comparison is None else comparison.test
        if comparison is not None and test is not None and comparison.is_paired:
            pairs[g.fingerprint] = comparison.pairs
        elif test is not None or (comparison is None and g.refusal is None):
            inside[g.fingerprint] = g.values("val_bpb")
    resolved = []
    if len(inside) > 1 or not pairs:
        resolved.append(resolution("seeds within an arm", list(inside.values()), False, settings))
    if pairs:
        resolved.append(resolution("the pairs' differences", list(pairs.values()), True, settings))
    return tuple(resolved)


def resolution(source: str, samples: Sequence[Sequence[float]], pairs: bool, settings: Settings) -> Resolution:
    noise, smallest = pooled_sd(samples), settings.smallest_effect_bpb
    seeds = min(map(len, samples), default=0)
    if noise.sd is None:
        return Resolution(source, noise, seeds, None, smallest, None)
    needed = None if smallest is None else seeds_needed(noise.sd, smallest, paired=pairs)
    return Resolution(source, noise, seeds, detectable(noise.sd, seeds, paired=pairs), smallest, needed)
