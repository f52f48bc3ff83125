"""The tests that a study can name. A test compares all arms of a family with their baselines at once, since pooled and
moderated tests take the noise of one comparison from all arms.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pgolf.tables.moderation import Prior, prior_of
from pgolf.tables.sequential import EarlierNoise, sequential_test
from pgolf.tables.stats import ROUNDING, TTest, paired, pooled_sd, spread, t_test, welch

Sample = Mapping[int, float]  # score by seed
Contrast = tuple[int, int]  # positions of an arm and of its baseline
TESTS = ("welch", "paired", "pooled", "moderated", "sequential")
BLOCKABLE = ("pooled", "moderated")
SEQUENTIAL = "sequential"
ONE_SEED = "no test with one seed in an arm"


@dataclass(frozen=True)
class Method:
    """A test by name. blocked: effects of the seed, which arms of one seed share, are taken out. noise_bpb: the known
    standard deviation of a score between seeds, for the sequential test; None: estimated.
    """

    name: str = "welch"
    blocked: bool = False
    noise_bpb: float | None = None

    @property
    def is_sequential(self) -> bool:
        """Whether the test stays valid if seeds are added until a decision."""
        return self.name == SEQUENTIAL

    @property
    def is_paired(self) -> bool:
        """Whether it uses the seeds that both arms have, pair by pair."""
        return self.name in ("paired", SEQUENTIAL)

    @property
    def earlier_noise(self) -> EarlierNoise:
        """What the sequential test knows of the noise of a difference between two independent arms."""
        known = self.noise_bpb
        return EarlierNoise() if known is None else EarlierNoise(known * math.sqrt(2), math.inf)

    @property
    def label(self) -> str:
        """The test for readers."""
        return {
            ("welch", False): "Welch",
            ("paired", False): "paired t",
            ("pooled", False): "pooled t",
            ("pooled", True): "arm + seed",
            ("moderated", False): "moderated t",
            ("moderated", True): "moderated paired t",
            (SEQUENTIAL, False): "sequential",
        }[self.name, self.blocked]


WELCH, PAIRED = Method("welch"), Method("paired")
SENSITIVITY = (WELCH, PAIRED, Method("pooled", blocked=True), Method("moderated"))


def compare(
    method: Method, samples: Sequence[Sample], contrasts: Sequence[Contrast], others: Sequence[Sample] = ()
) -> list[TTest]:
    """The test of each contrast. samples: the arms of a family, each once. others: further arms of the study, which
    only the prior of the moderated test uses.
    """
    if method.name == "welch":
        return [welch(values(samples[a]), values(samples[b])) for a, b in contrasts]
    if method.name == "paired":
        return [paired(*common(samples[a], samples[b])) for a, b in contrasts]
    if method.is_sequential:
        return [sequential_test(*common(samples[a], samples[b]), method.earlier_noise) for a, b in contrasts]
    if method.name == "pooled":
        return two_way(samples, contrasts) if method.blocked else pooled(samples, contrasts)
    if method.blocked:
        return moderated_pairs(samples, contrasts)
    return moderated(samples, contrasts, others)


def values(sample: Sample) -> list[float]:
    return [sample[seed] for seed in sorted(sample)]


def common(a: Sample, b: Sample) -> tuple[list[float], list[float]]:
    """The scores of the seeds that both have, by seed."""
    seeds = sorted(set(a) & set(b))
    return [a[seed] for seed in seeds], [b[seed] for seed in seeds]


def untested(name: str, a: Sample, b: Sample, reason: str) -> TTest:
    difference = fmean(a.values()) - fmean(b.values()) if a and b else None
    return TTest(name, (len(a), len(b)), difference, reason=reason)


def pooled(samples: Sequence[Sample], contrasts: Sequence[Contrast]) -> list[TTest]:
    """t tests with one standard deviation for all arms of the family (one-way analysis of variance)."""
    name, noise = Method("pooled").label, pooled_sd([values(sample) for sample in samples])

    def test(a: Sample, b: Sample) -> TTest:
        if min(len(a), len(b)) < 2:
            return untested(name, a, b, ONE_SEED)
        if not noise.sd:
            return untested(name, a, b, noise.reason or "no variance in any arm")
        error = noise.sd * math.sqrt(1 / len(a) + 1 / len(b))
        difference = fmean(a.values()) - fmean(b.values())
        return t_test(name, (len(a), len(b)), difference, error, noise.df, 0.0, "two-sided")

    return [test(samples[a], samples[b]) for a, b in contrasts]


@dataclass(frozen=True)
class ArmAndSeed:
    """The model score = arm + seed + noise, by least squares, with C columns: one per arm, then one per seed.

    effects [C]: of the scores less their mean. products [C, C]: X^T X of the design X, and its pseudo-inverse. sd, df:
    of the residuals; sd is 0 without degrees of freedom, and where it would be rounding.
    """

    effects: np.ndarray
    products: np.ndarray
    inverse: np.ndarray
    sd: float
    df: int


def arm_and_seed(samples: Sequence[Sample]) -> ArmAndSeed:
    seeds = sorted(set().union(*samples))
    cells = [(i, seeds.index(seed), score) for i, sample in enumerate(samples) for seed, score in sample.items()]
    design = np.zeros((len(cells), len(samples) + len(seeds)))
    for row, (arm, seed, _) in enumerate(cells):
        design[row, arm] = design[row, len(samples) + seed] = 1.0
    products = design.T @ design
    inverse = np.linalg.pinv(products)
    if not cells:
        return ArmAndSeed(np.zeros(len(products)), products, inverse, 0.0, 0)
    y = np.array([score for *_, score in cells])
    effects = inverse @ design.T @ (y - y.mean())
    df = len(cells) - int(np.linalg.matrix_rank(design))
    residual = y - y.mean() - design @ effects
    sd = math.sqrt(float(residual @ residual) / df) if df else 0.0
    return ArmAndSeed(effects, products, inverse, 0.0 if sd <= ROUNDING * float(np.abs(y).max()) else sd, df)


def two_way(samples: Sequence[Sample], contrasts: Sequence[Contrast]) -> list[TTest]:
    """t tests of the model score = arm + seed + noise, by least squares, with one standard deviation for all arms."""
    name = Method("pooled", blocked=True).label
    fit = arm_and_seed(samples)
    inverse, products = fit.inverse, fit.products

    def test(a: int, b: int) -> TTest:
        if min(len(samples[a]), len(samples[b])) < 2:
            return untested(name, samples[a], samples[b], ONE_SEED)
        weights = np.zeros(len(products))
        weights[a], weights[b] = 1.0, -1.0
        is_estimable = np.allclose(weights @ inverse @ products, weights, atol=1e-8)
        if not is_estimable:
            return untested(name, samples[a], samples[b], "no seed links the two arms")
        if fit.sd == 0:
            return untested(name, samples[a], samples[b], "no variance beyond arm and seed")
        error = fit.sd * math.sqrt(float(weights @ inverse @ weights))
        n = (len(samples[a]), len(samples[b]))
        return t_test(name, n, float(weights @ fit.effects), error, fit.df, 0.0, "two-sided")

    return [test(a, b) for a, b in contrasts]


def variances_of(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """(variances, degrees of freedom) of samples; zero for a sample of one seed."""
    scores = [values(sample) for sample in samples]
    return [spread(x) ** 2 if len(x) > 1 else 0.0 for x in scores], [max(len(x) - 1.0, 0.0) for x in scores]


def prior(samples: Sequence[Sample], others: Sequence[Sample] = ()) -> tuple[Prior | None, frozenset[int]]:
    """The prior of the moderated test over all arms, and the positions of outlying arms."""
    return prior_of(*variances_of([*samples, *others]))


def moderated(samples: Sequence[Sample], contrasts: Sequence[Contrast], others: Sequence[Sample]) -> list[TTest]:
    """Welch's test with moderated variances. Arms with an outlying variance, and all arms without a prior, keep Welch's
    test as it is.
    """
    name = Method("moderated").label
    common_prior, outliers = prior(samples, others)
    variances, dfs = variances_of(samples)

    def test(a: int, b: int) -> TTest:
        plain = welch(values(samples[a]), values(samples[b]))
        if common_prior is None or outliers & {a, b} or min(dfs[a], dfs[b]) < 1 or not variances[a] * variances[b]:
            return plain
        (na, va), (nb, vb) = ((dfs[i] + 1, common_prior.moderated(variances[i], dfs[i])) for i in (a, b))
        error2, df = va / na + vb / nb, common_prior.total_df
        if math.isfinite(common_prior.df):
            parts = (va / na) ** 2 / dfs[a] + (vb / nb) ** 2 / dfs[b]
            df = min(df, common_prior.df + error2**2 / parts)  # both arms share one prior
        assert plain.difference is not None
        return t_test(name, plain.n, plain.difference, math.sqrt(error2), df, 0.0, "two-sided")

    return [test(a, b) for a, b in contrasts]


def moderated_pairs(samples: Sequence[Sample], contrasts: Sequence[Contrast]) -> list[TTest]:
    """Paired t tests with moderated variances of the pairs' differences."""
    name = Method("moderated", blocked=True).label
    pairs = [common(samples[a], samples[b]) for a, b in contrasts]
    differences = [{i: x - y for i, (x, y) in enumerate(zip(*pair, strict=True))} for pair in pairs]
    variances, dfs = variances_of(differences)
    common_prior, outliers = prior_of(variances, dfs)

    def test(at: int) -> TTest:
        plain = paired(*pairs[at])
        if common_prior is None or at in outliers or plain.error is None:
            return plain
        n = len(differences[at])
        variance = common_prior.moderated(variances[at], dfs[at])
        df = min(common_prior.df + dfs[at], shared_df(common_prior.total_df, common_prior.arms))
        assert plain.difference is not None
        return t_test(name, (n,), plain.difference, math.sqrt(variance / n), df, 0.0, "two-sided")

    return [test(at) for at in range(len(contrasts))]


def shared_df(total_df: float, contrasts: int) -> float:
    """Degrees of freedom of a variance that is pooled over paired differences to one baseline.

    Differences that share a baseline have a correlation of 1/2, and their variances one of 1/4. So k contrasts with
    total_df degrees of freedom in all have total_df / (1 + (k - 1) / 4) of them.
    """
    return total_df / (1 + (contrasts - 1) / 4)
