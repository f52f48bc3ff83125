"""The noise between seeds, and the differences that a family's seeds can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from pgolf.tables.caveats import FEWEST_SEEDS
from pgolf.tables.contrast import Comparison, Settings
from pgolf.tables.groups import Group
from pgolf.tables.methods import SEQUENTIAL, shared_df
from pgolf.tables.power import Design, Seeds, detectable, power, power_of_equality, seeds_for
from pgolf.tables.stats import Noise, pooled_sd

UNEQUAL = 3.0  # ratio of standard deviations from which one number for all arms misleads


@dataclass(frozen=True)
class Resolution:
    """The noise between seeds and what it allows to show, in bpb. source: whose sd. seeds: the smallest number that an
    arm has. comparisons: that Holm's method corrects for. The numbers are those of the test that decides: the
    difference that it detects with a power of 80%, and the seeds that the smallest effect and equality within it need.
    They assume one sd. sds: the smallest and the largest of single arms, if they differ by more than UNEQUAL times.
    """

    source: str
    noise: Noise
    seeds: int
    comparisons: int
    test: str
    detectable_bpb: float | None
    smallest_effect_bpb: float | None
    seeds_needed: Seeds | None = None
    seeds_for_equality: Seeds | None = None
    sds: tuple[float, float] | None = None


def resolutions(
    groups: Sequence[Group],
    comparisons: Sequence[Comparison | None],
    absent: int,
    settings: Settings,
    prior_df: float = math.inf,
) -> tuple[Resolution, ...]:
    """The noise between the seeds of an arm, and that of the pairs' differences if arms are paired.

    Only baselines and arms with a difference are pooled, since the noise depends on the evaluation mode. Each
    configuration is pooled once. absent: planned comparisons without runs. prior_df: of the moderated test.
    """
    inside: dict[str, list[float]] = {}
    pairs: dict[str, tuple[float, ...]] = {}
    method = settings.method
    by_pairs = Design(method.name, method.blocked).is_paired
    for g, comparison in zip(groups, comparisons, strict=True):
        test = None if comparison is None else comparison.test
        if comparison is not None and test is not None and (comparison.is_paired or by_pairs):
            pairs[g.fingerprint] = comparison.pairs
        elif test is not None or (comparison is None and g.refusal is None):
            inside[g.fingerprint] = g.values("val_bpb")
    count = max(1, len({g.fingerprint for g, c in zip(groups, comparisons, strict=True) if c is not None}) + absent)
    design = Design(
        method.name,
        method.blocked,
        max(2, len(inside)),
        count,
        settings.rules.alpha,
        settings.equivalence_alpha,
        prior_df,
    )
    resolved = []
    if len(inside) > 1 or not pairs:
        resolved.append(resolution("seeds within an arm", list(inside.values()), design, settings))
    if pairs:
        paired = design if by_pairs else Design("paired", False, 2, count, design.alpha, design.equivalence_alpha)
        resolved.append(resolution("the pairs' differences", list(pairs.values()), paired, settings))
    return tuple(resolved)


def resolution(source: str, samples: Sequence[Sequence[float]], design: Design, settings: Settings) -> Resolution:
    noise, smallest = pooled_sd(samples), settings.smallest_effect_bpb
    if design.is_paired and noise.sd is not None:  # differences to one baseline share its noise
        noise = Noise(noise.sd, shared_df(noise.df, noise.groups), noise.groups)
    found = Resolution(
        source,
        noise,
        min(map(len, samples), default=0),
        design.comparisons,
        design.test,
        None,
        smallest,
        sds=unequal_sds(samples),
    )
    if noise.sd is None or design.test == SEQUENTIAL:  # the sequential test adds seeds until it decides
        return found
    found = replace(found, detectable_bpb=detectable(design, noise.sd, found.seeds))
    if smallest is None:
        return found
    needed, equal = (seeds_for(of, design, noise.sd, noise.interval(), smallest) for of in (power, power_of_equality))
    return replace(found, seeds_needed=needed, seeds_for_equality=equal)


def unequal_sds(samples: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The smallest and the largest standard deviation of arms with three scores or more, if they are far apart."""
    sds = [stdev(sample) for sample in samples if len(sample) >= FEWEST_SEEDS]
    return (min(sds), max(sds)) if sds and max(sds) > UNEQUAL * min(sds) else None
