"""A baseline's score as a function of training compute, and gaps to it as compute and as time.

The law is L = L_inf + A C^-alpha, with C the training FLOPs of a run (Hoffmann et al. 2022, arXiv 2203.15556, with one
model size, so that C is proportional to the tokens). The effective speedup of an arm is the compute with which the
baseline gets the arm's score, divided by the arm's own compute. Davidson et al. 2023 (arXiv 2312.07413) call it the
compute-equivalent gain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtri, stdtrit

from pgolf.tables.stats import ALPHA, TTest, one_sample, t_test

FEWEST_RUNGS = 3  # of a law: it has three constants
STEEPEST = 2.0  # the largest exponent that is fitted
FIRST_EXPONENTS = np.linspace(0.0, STEEPEST, 41)
DOUBLING = 2.0  # a law is extrapolated by this factor at most
EDGE = 1e-9  # relative rounding of compute at the ends of a ladder
INSIDE, EXTRAPOLATED, ABOVE, BELOW = "", "extrapolated", "above the ladder", "below the ladder"


@dataclass(frozen=True)
class Law:
    """L = level + drop h(z) with z = ln(C) - centre and h(z) = (e^(-alpha z) - 1) / alpha, which is -z at alpha = 0.

    Thus L_inf = level - drop / alpha. compute: the rungs' training FLOPs, increasing. residuals: score - law at them,
    in bpb. Scores fall with compute: drop > 0.
    """

    compute: tuple[float, ...]
    residuals: tuple[float, ...]
    alpha: float
    level: float
    drop: float
    centre: float

    @property
    def limit(self) -> float:
        """L_inf, in bpb."""
        return self.level - self.drop / self.alpha if self.alpha > 0 else -math.inf

    @property
    def problem(self) -> str:
        """Why L_inf and alpha are not identified; empty if they are. The curve between the rungs is known either way.

        A law with alpha = 0 is a straight line over ln C, and then L_inf does not exist.
        """
        if self.alpha <= EDGE:
            return "alpha tends to 0"
        if self.limit < 0:
            return "L_inf would be negative"
        return f"alpha is at its bound {STEEPEST:g}" if self.alpha > STEEPEST - 1e-4 else ""

    def score(self, compute: float) -> float:
        """Bits per byte of the baseline with so many training FLOPs."""
        return self.level + self.drop * float(decline(self.alpha, np.array(math.log(compute) - self.centre)))

    def compute_at(self, score: float) -> float:
        """The training FLOPs with which the baseline gets a score; infinite at and below L_inf."""
        h = (score - self.level) / self.drop
        if self.alpha == 0:
            z = -h
        elif 1 + self.alpha * h <= 0:
            return math.inf
        else:
            z = -math.log1p(self.alpha * h) / self.alpha
        return math.exp(min(z + self.centre, 700.0))


def decline(alpha: float, z: np.ndarray) -> np.ndarray:
    """h(z) of `Law`: it falls with z, from any z."""
    return np.asarray(-z if alpha == 0 else np.expm1(-alpha * z) / alpha)


@lru_cache(maxsize=64)
def first_lines(compute: tuple[float, ...]) -> np.ndarray:
    """[exponents, rungs]: h - its mean at each rung for each of FIRST_EXPONENTS, with unit length."""
    logs = np.log(np.array(compute))
    h = np.array([decline(alpha, logs - logs.mean()) for alpha in FIRST_EXPONENTS])
    centred = h - h.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def line(h: np.ndarray, scores: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(level, drop, residuals) of scores = level + drop h, by least squares."""
    centred = h - h.mean()
    drop = float(centred @ scores) / float(centred @ centred)
    level = float(scores.mean()) - drop * float(h.mean())
    return level, drop, scores - level - drop * h


def fit_law(compute: Sequence[float], scores: Sequence[float]) -> Law | str:
    """The law of one seed by least squares, or why there is none. compute: strictly increasing.

    For a given alpha the other constants are linear. So the sum of squares is minimised over alpha alone: on a grid
    from 0 to STEEPEST, then between the neighbours of its best point.
    """
    if len(compute) < FEWEST_RUNGS:
        return f"a law needs {FEWEST_RUNGS} or more rungs, and there are {len(compute)}"
    logs, y = np.log(np.asarray(compute, dtype=float)), np.asarray(scores, dtype=float)
    centre = float(logs.mean())

    def squares(alpha: float) -> float:
        residual = line(decline(alpha, logs - centre), y)[2]
        return float(residual @ residual)

    best = int(np.argmax((first_lines(tuple(map(float, compute))) @ y) ** 2))  # the most that a line explains
    ends = FIRST_EXPONENTS[max(0, best - 1)], FIRST_EXPONENTS[min(len(FIRST_EXPONENTS) - 1, best + 1)]
    found = minimize_scalar(squares, bounds=ends, method="bounded", options={"xatol": 1e-9})
    alpha = min((float(found.x), *map(float, ends)), key=squares)
    level, drop, residual = line(decline(alpha, logs - centre), y)
    if drop <= 0:
        return "the baseline's score does not fall with compute"
    return Law(tuple(map(float, compute)), tuple(map(float, residual)), alpha, level, drop, centre)


@dataclass(frozen=True)
class Paired:
    """One seed of an arm and its baseline on one rung. compute, base_compute: training FLOPs. gap: in bpb."""

    compute: float
    base_compute: float
    gap: float


@dataclass(frozen=True)
class Speedup:
    """test: of the logarithm of the speedup, with one value per seed; None, with the reason as note, without a number.
    note: also where the speedup needs the law beyond the ladder.
    """

    test: TTest | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The speedup: the geometric mean over seeds. Above 1 the arm needs less than the baseline."""
        return None if self.test is None or self.test.difference is None else math.exp(self.test.difference)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The 95% interval of the speedup; None without one."""
        if self.test is None or self.test.low is None or self.test.high is None:
            return None
        return math.exp(min(self.test.low, 700.0)), math.exp(min(self.test.high, 700.0))


def equal_compute(law: Law, pair: Paired) -> tuple[str, float]:
    """(place, the baseline's training FLOPs at the arm's score). place: inside the ladder, extrapolated by at most a
    doubling, above or below.

    The arm's score is that of the law at the baseline's compute plus the gap within the seed. What the law misses at
    this rung, and what the seed does to both arms, thus cancels.
    """
    found = law.compute_at(law.score(pair.base_compute) + pair.gap)
    low, high = law.compute[0] * (1 - EDGE), law.compute[-1] * (1 + EDGE)
    if low <= found <= high:
        return INSIDE, found
    if low / DOUBLING <= found <= high * DOUBLING:
        return EXTRAPOLATED, found
    return (ABOVE if found > high else BELOW), found


def speedup(laws: Mapping[int, Law], pairs: Mapping[int, Paired]) -> Speedup:
    """The speedup in compute. Both by seed; the seeds of the pairs have laws.

    A seed outside the ladder leaves no number: to drop it would favour arms whose other seeds lie inside.
    """
    assert set(pairs) <= set(laws), (sorted(pairs), sorted(laws))
    found = {seed: equal_compute(laws[seed], pair) for seed, pair in sorted(pairs.items())}
    places = [place for place, _ in found.values()]
    for outside in (ABOVE, BELOW):
        if count := places.count(outside):
            return Speedup(None, f"{outside} in {count} of {len(places)} seeds")
    logs = [math.log(compute / pairs[seed].compute) for seed, (_, compute) in found.items()]
    count = places.count(EXTRAPOLATED)
    return Speedup(one_sample(logs), f"extrapolated in {count} of {len(places)} seeds" if count else "")


@dataclass(frozen=True)
class StepRatio:
    """Time of a training token, arm / baseline, with its 95% interval (None without one)."""

    median: float
    low: float | None = None
    high: float | None = None

    @property
    def log_error(self) -> float | None:
        """The standard error of the ratio's logarithm, by its interval; None without one."""
        if self.low is None or self.high is None:
            return None
        return math.log(self.high / self.low) / (2 * float(ndtri(1 - ALPHA / 2)))


def in_time(found: Speedup, ratio: StepRatio, flops_ratio: float) -> Speedup:
    """The speedup in time from that in compute: the baseline's time at the arm's score, divided by the arm's own.

    flops_ratio: FLOPs per token, arm / baseline. The half-widths of both intervals, in logarithms, are added in squares
    (MOVER, Zou and Donner 2008), so that the result is never narrower than either of them. Satterthwaite's degrees of
    freedom would make it narrower with two or three seeds.
    """
    test, error = found.test, ratio.log_error
    if test is None or test.difference is None:
        return found
    difference = test.difference + math.log(flops_ratio / ratio.median)
    if test.error is None or test.df is None or error is None:
        reason = test.reason or "the step times have no interval"
        return Speedup(TTest("log speedup", test.n, difference, reason=reason), found.note)
    half_of_ratio = error * float(ndtri(1 - ALPHA / 2))
    total = math.hypot(test.error, half_of_ratio / float(stdtrit(test.df, 1 - ALPHA / 2)))
    return Speedup(t_test("log speedup", test.n, difference, total, test.df, 0.0, "two-sided"), found.note)
