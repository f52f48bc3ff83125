"""Comparisons of the arms of a family with their baselines: the named test, Holm's correction, and what stands in the
way of a verdict.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgolf.tables.caveats import FEWEST_SEEDS, Caveat, CaveatKind, Refusal, RefusalKind
from pgolf.tables.comparable import comparability, share_checkpoints
from pgolf.tables.decision import Corrected, Rules, corrected
from pgolf.tables.groups import TIMES, Group
from pgolf.tables.methods import PAIRED, WELCH, Contrast, Method, Sample, compare, prior
from pgolf.tables.stats import ALPHA, ThresholdTest, TTest, correlation, threshold_test

MIXED = (CaveatKind.MIXED_BUDGET, CaveatKind.MIXED_VALUES)


@dataclass(frozen=True)
class Settings:
    """test: named beforehand; None: that of the study, Welch's without one. smallest_effect_bpb: the smallest
    difference that matters, > 0. equivalence_alpha: the level of equality per side.
    """

    test: Method | None = None
    smallest_effect_bpb: float | None = None
    threshold_nats: float = 0.005
    threshold_p: float = 0.01
    equivalence_alpha: float = ALPHA / 2

    @property
    def method(self) -> Method:
        return self.test or WELCH

    @property
    def rules(self) -> Rules:
        step_down = not self.method.is_sequential
        return Rules(self.smallest_effect_bpb, ALPHA, self.equivalence_alpha, step_down)


@dataclass(frozen=True)
class Comparison:
    """The difference arm - baseline, in bpb. `test` decides; other_test and correlation are for the table of details.

    baseline: its label. refusal: why there is no difference. nats_refusal: why nats and the threshold are left out.
    is_paired: whether `test` is the paired one. pairs: arm - baseline for each seed that both have.
    """

    baseline: str
    refusal: Refusal | None
    nats_refusal: str | None
    is_paired: bool = False
    test: TTest | None = None
    other_test: TTest | None = None
    correlation: float | None = None
    threshold: ThresholdTest | None = None
    pairs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Link:
    """An arm and the baseline's configuration that it is compared with. label: of the baseline."""

    arm: Group
    base: Group
    label: str


def baseline_of(g: Group, candidates: Sequence[Group]) -> Group | None:
    """The baseline's configuration to compare with: preferably of the same sweep, then planned, then the latest."""
    ranked = sorted(
        candidates, key=lambda b: (bool(b.sweeps & g.sweeps), bool(b.planned), max(b.sweeps, default=-1), -b.position)
    )
    return ranked[-1] if ranked else None


def compare_family(
    links: Sequence[Link | None], settings: Settings, study: Sequence[Group]
) -> list[tuple[Comparison | None, list[Caveat]]]:
    """The comparison of each link, with its caveats. study: all groups of the study, for the moderated test's prior."""
    limits = [None if link is None else comparability(link.arm, link.base) for link in links]
    compared = [
        link for link, limit in zip(links, limits, strict=True) if link and limit is not None and limit.refusal is None
    ]
    tests = {
        id(link): pair
        for link, *pair in zip(
            compared,
            tests_of(compared, settings.method, study),
            tests_of(compared, WELCH if settings.method.is_paired else PAIRED, study),
            strict=True,
        )
    }
    results: list[tuple[Comparison | None, list[Caveat]]] = []
    for link, limit in zip(links, limits, strict=True):
        if link is None or limit is None:
            results.append((None, []))
        elif limit.refusal is not None:
            caveats = list(limit.caveats)
            if link.arm.used and link.arm.refusal is None and limit.refusal.kind is not RefusalKind.SAME_CONFIGURATION:
                caveats.append(Caveat(CaveatKind.NO_DIFFERENCE, f"no difference: {limit.refusal.text}"))
            results.append((Comparison(link.label, limit.refusal, limit.nats_refusal), caveats))
        else:
            test, other = tests[id(link)]
            comparison, caveats = compared_pair(link, test, other, limit.nats_refusal, settings)
            results.append((comparison, [*limit.caveats, *caveats]))
    return results


def sample_of(g: Group) -> Sample:
    """The counted scores of a group, by seed."""
    return {seed: float(row["val_bpb"]) for seed, row in g.used.items()}


def samples_of(links: Sequence[Link]) -> tuple[dict[str, Sample], list[Contrast]]:
    """(samples of all arms and baselines by fingerprint, each once; positions of each link's arm and baseline)."""
    samples = {g.fingerprint: sample_of(g) for link in links for g in (link.base, link.arm)}
    at = {fingerprint: number for number, fingerprint in enumerate(samples)}
    return samples, [(at[link.arm.fingerprint], at[link.base.fingerprint]) for link in links]


def tests_of(links: Sequence[Link], method: Method, study: Sequence[Group]) -> list[TTest]:
    """One test per link by one method."""
    samples, contrasts = samples_of(links)
    others = {g.fingerprint: sample_of(g) for g in study if g.refusal is None and g.fingerprint not in samples}
    return compare(method, list(samples.values()), contrasts, list(others.values()))


def prior_df(study: Sequence[Group], method: Method) -> float:
    """The degrees of freedom of the moderated test's prior over all arms of a study; infinite for other tests."""
    if method.name != "moderated" or method.blocked:
        return math.inf
    samples = {g.fingerprint: sample_of(g) for g in study if g.refusal is None}
    found, _ = prior(list(samples.values()))
    return 0.0 if found is None else found.df


def compared_pair(
    link: Link, test: TTest, other: TTest, nats_refusal: str | None, settings: Settings
) -> tuple[Comparison, list[Caveat]]:
    """A comparison whose difference is not refused. other: the paired test, or Welch's if `test` is a paired one."""
    g, base = link.arm, link.base
    common = sorted(set(g.used) & set(base.used))
    scores, base_scores = ([float(x.used[seed]["val_bpb"]) for seed in common] for x in (g, base))
    caveats = []
    is_shared = share_checkpoints(g, base)
    if is_shared and not settings.method.is_paired:
        test, other = other, test
        caveats.append(Caveat(CaveatKind.SHARED_CHECKPOINTS, "shares the baseline's checkpoints: paired"))
    is_paired = is_shared or settings.method.is_paired
    is_sequential = settings.method.is_sequential  # then the baseline has more seeds than arms that were decided early
    dropped = sorted(set(g.used) - set(base.used) if is_sequential else set(g.used) ^ set(base.used))
    if is_paired and dropped:
        text = f"{len(common)} pairs; no pair for seed {', '.join(map(str, dropped))}"
        caveats.append(Caveat(CaveatKind.SEEDS_WITHOUT_PAIR, text))
    if len(common) > 1 and scores == base_scores:
        caveats.append(Caveat(CaveatKind.EQUAL_SCORES, "exactly the baseline's scores"))
    if test.p is None and min(test.n) > 1:
        caveats.append(Caveat(CaveatKind.NO_TEST, test.reason or ""))
    nats = [nats_of(x, common if is_paired else None) for x in (g, base)]
    if nats_refusal is None and is_sequential:
        nats_refusal = "its test is for a number of seeds that was fixed beforehand"
    if nats_refusal is None and not all(nats):
        nats_refusal = "nats are missing in a record"
    threshold = (
        None
        if nats_refusal
        else threshold_test(
            nats[0], nats[1], over_nats=settings.threshold_nats, p_below=settings.threshold_p, pairs=is_paired
        )
    )
    pairs = tuple(x - y for x, y in zip(scores, base_scores, strict=True))
    r = correlation(scores, base_scores)
    return Comparison(link.label, None, nats_refusal, is_paired, test, other, r, threshold, pairs), caveats


def nats_of(g: Group, seeds: Sequence[int] | None) -> list[float]:
    """Nats per token of the counted seeds, or of `seeds`; empty if a record has none."""
    if len(g.values("val_nats")) != g.n:
        return []
    return g.values("val_nats") if seeds is None else [float(g.used[seed]["val_nats"]) for seed in seeds]


def seeds_of_sweeps(groups: Sequence[Group]) -> dict[int, set[int]]:
    """The planned seeds of each sweep. A sweep runs every arm with every seed, so that an arm whose row was removed is
    noticed by the rows of the others.
    """
    seeds: dict[int, set[int]] = {}
    for g in groups:
        for row in g.rows:
            for _, sweep, _ in row["planned"] or []:
                seeds.setdefault(sweep, set()).add(row["seed"])
    return seeds


def copies(groups: Sequence[Group]) -> list[tuple[str, Collection[str]]]:
    """Counted runs of different configurations that took exactly the same times, as (arms and seeds, fingerprints): one
    is a copy of the other. Copies within one configuration are left out by `groups.copied_seeds`.
    """
    runs: defaultdict[tuple[Any, ...], dict[str, str]] = defaultdict(dict)
    for g in groups:
        for seed, row in g.used.items():
            times = tuple(row.get(key) for key in TIMES)
            if None not in times:
                runs[times].setdefault(g.fingerprint, f"{g.arm} seed {seed}")
    return [(" and ".join(alike.values()), alike.keys()) for alike in runs.values() if len(alike) > 1]


def hindrance(g: Group, planned: int, copied: Mapping[str, str]) -> str | None:
    """Why no verdict can rest on an arm; None if one can. planned: seeds in the plan. copied: {fingerprint: the
    copy and the run}.
    """
    if g.fingerprint in copied:
        return f"has a run that may be a copy ({copied[g.fingerprint]})"
    needed = max(FEWEST_SEEDS, planned)
    if g.n < needed:
        return f"has {g.n} of the {needed} seeds that a verdict needs"
    mixed = next((caveat for caveat in g.caveats if caveat.kind in MIXED), None)
    return mixed.text if mixed else None


def hindrance_of_pair(
    link: Link,
    comparison: Comparison,
    caveats: Sequence[Caveat],
    planned: Mapping[int, int],
    copied: Mapping[str, str],
    method: Method,
    *,
    unequal_budgets: bool,
) -> str | None:
    """Why a comparison gets no verdict; None if it can get one. planned: planned seeds by the id of a group."""
    if (own := hindrance(link.arm, planned[id(link.arm)], copied)) is not None:
        return own
    if (of_base := hindrance(link.base, planned[id(link.base)], copied)) is not None:
        return f"the baseline {of_base}"
    if comparison.is_paired and len(comparison.pairs) < FEWEST_SEEDS:
        return f"has {len(comparison.pairs)} of the {FEWEST_SEEDS} pairs that a verdict needs"
    kinds = {caveat.kind: caveat.text for caveat in caveats}
    if CaveatKind.OTHER_BUDGET in kinds and not unequal_budgets:
        return kinds[CaveatKind.OTHER_BUDGET]
    if CaveatKind.OTHER_ORDER in kinds and (comparison.is_paired or method.blocked):
        return f"{kinds[CaveatKind.OTHER_ORDER]}, so that its seeds are not pairs"
    return comparison.test.reason if comparison.test is not None and comparison.test.p is None else None


def corrections(
    members: Sequence[Group],
    comparisons: Sequence[Comparison | None],
    tests: Sequence[TTest | None],
    absent: Sequence[str],
    rules: Rules,
) -> list[Corrected | None]:
    """Decisions after Holm's correction over the family's planned comparisons, one per member; None where it has none.

    One configuration under two names is one hypothesis. A comparison without a test counts, too. absent: arms of the
    family without any run. Each counts as a hypothesis, so that a part of a family is not
    corrected less than the whole.
    """
    entered = hypotheses(members, comparisons, tests)
    found = corrected([*entered.values(), *(None for _ in set(absent))], rules)
    by_configuration = dict(zip(entered, found, strict=False))
    return [
        by_configuration.get(g.fingerprint) if c is not None and g.planned is not False and c.test is not None else None
        for g, c in zip(members, comparisons, strict=True)
    ]


def hypotheses(
    members: Iterable[Group], comparisons: Iterable[Comparison | None], tests: Iterable[TTest | None]
) -> dict[str, TTest | None]:
    """The tests of a family that a correction counts, by fingerprint: of planned runs, each configuration once."""
    entered: dict[str, TTest | None] = {}
    for g, comparison, test in zip(members, comparisons, tests, strict=True):
        if comparison is not None and g.planned is not False and not is_same(comparison):
            entered.setdefault(g.fingerprint, test)
    return entered


def is_same(comparison: Comparison) -> bool:
    """Whether the arm has the configuration of its baseline."""
    return comparison.refusal is not None and comparison.refusal.kind is RefusalKind.SAME_CONFIGURATION
