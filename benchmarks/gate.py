"""Simulates `pgolf.gate` and `launch.seeds=auto`: pairs until a verdict, and the share of wrong verdicts.

    python benchmarks/gate.py                 # about fifteen CPU seconds
    python benchmarks/gate.py --margin 1

Scores of both arms have a standard deviation of 1 between seeds and a correlation `rho` over seeds; a true effect of 2
is two standard deviations. Noise is known, estimated from the differences alone, or taken from an earlier study with 20
degrees of freedom, which is drawn anew for each repeat. Known noise and that of a study are those of independent arms
(rho = 0), unless what a seed does to both arms is taken out. A repeat ends
at its first verdict, or without one at the cap. Printed: the mean number of pairs, the share without a verdict, the
share of wrong verdicts at that end, and the share of repeats in which any look, also after a verdict, has an interval
that does not hold the true effect. A second table has that last share where the noise is not normal, and one arm has
several times the standard deviation of the other.

A third table has families of arms with one baseline, as launch.seeds=auto runs them: three seeds for all, then one more
for each undecided arm and the baseline, at the level alpha / k for k arms. Printed: the share of repeats in which any
arm gets a wrong decision, runs per arm with its part of the baseline, and the share of arms that are undecided at the
cap.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgolf.tables.caveats import FEWEST_SEEDS
from pgolf.tables.sequential import width_factor

EFFECTS = (0.0, 1.0, 2.0, 3.0, 5.0)
NOISE = {  # name: (degrees of freedom, whether what a seed does to both arms is taken out)
    "known": (math.inf, False),
    "study of 20 df": (20.0, False),
    "study of 20 df, by seed": (20.0, True),
    "estimated": (0.0, False),
}
CORRELATIONS = (0.0, 0.3, 0.6)


@dataclass(frozen=True)
class Outcome:
    """pairs: mean number at the end. The others are shares of the repeats."""

    pairs: float
    undecided: float
    wrong: float
    missed: float


def intervals(
    differences: np.ndarray, df: float, rng: np.random.Generator, alpha: float, variance: float = 2.0
) -> tuple[np.ndarray, ...]:
    """(low, high) [repeats, pairs] after each pair. differences: [repeats, pairs]. df, variance: of the noise of a
    difference, as an earlier study has it.
    """
    repeats, pairs = differences.shape
    n = np.arange(1, pairs + 1)
    mean = differences.cumsum(axis=1) / n
    factors = np.array([width_factor(int(k), df, alpha) for k in n])
    if df == math.inf:
        half = np.broadcast_to(factors * math.sqrt(variance), mean.shape)
    else:
        deviations = np.maximum((differences**2).cumsum(axis=1) - n * mean**2, 1e-300)
        earlier = variance * rng.chisquare(df, size=(repeats, 1)) if df else 0.0
        half = factors * np.sqrt(deviations + earlier)
    return mean - half, mean + half


def simulate(effect: float, noise: str, rho: float, *, margin: float, repeats: int, cap: int, alpha: float) -> Outcome:
    """The outcome of `repeats` gates."""
    rng, (df, by_seed) = np.random.default_rng(7), NOISE[noise]
    shared, *own = rng.normal(size=(3, repeats, cap))
    base, candidate = (math.sqrt(rho) * shared + math.sqrt(1 - rho) * each for each in own)
    low, high = intervals(effect + candidate - base, df, rng, alpha, 2 - 2 * rho if by_seed else 2.0)
    better, worse = high < 0, low > 0
    equal = (low > -margin) & (high < margin) & ~better & ~worse
    decided = better | worse | equal
    end = np.where(decided.any(axis=1), decided.argmax(axis=1), cap - 1)
    at_end = np.arange(repeats), end
    wrong = better | (worse if effect == 0 else equal if effect >= margin else np.zeros_like(better))
    missed = ((low > effect) | (high < effect)).any(axis=1)
    means = (end + 1, ~decided[at_end], wrong[at_end], missed)
    return Outcome(*(float(np.mean(values)) for values in means))


def draw(shape: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise with mean 0 and standard deviation 1."""
    if shape == "exponential":
        return rng.exponential(size=size) - 1
    return rng.standard_t(3, size=size) / math.sqrt(3) if shape == "t of 3 df" else rng.normal(size=size)


def missed_by_shape(shape: str, ratio: float, df: float, *, repeats: int, cap: int, alpha: float) -> float:
    """The share of repeats in which any interval misses a true effect of 0. ratio: of the arms' standard deviations."""
    rng = np.random.default_rng(3)
    arms = [draw(shape, (repeats, cap), rng) for _ in range(2)]
    differences = math.sqrt(2) * (ratio * arms[0] - arms[1]) / math.hypot(ratio, 1)
    low, high = intervals(differences, df, rng, alpha)
    return float(((low > 0) | (high < 0)).any(axis=1).mean())


@dataclass(frozen=True)
class FamilyOutcome:
    """wrong: the share of repeats with a wrong decision on any arm. runs: mean number per arm, the baseline's divided
    among the arms. undecided: share of arms at the cap.
    """

    wrong: float
    runs: float
    undecided: float


def simulate_family(
    effects: Sequence[float], noise: str, rho: float, *, margin: float, repeats: int, cap: int, alpha: float
) -> FamilyOutcome:
    """The outcome of `repeats` families whose arms have these true effects, in standard deviations of a score."""
    rng, (df, by_seed) = np.random.default_rng(11), NOISE[noise]
    shared, base_noise, *own = rng.normal(size=(2 + len(effects), repeats, cap))
    base = math.sqrt(rho) * shared + math.sqrt(1 - rho) * base_noise
    any_wrong, last = np.zeros(repeats, dtype=bool), np.zeros(repeats)
    runs, undecided = 0.0, 0.0
    for effect, arm_noise in zip(effects, own, strict=True):
        arm = effect + math.sqrt(rho) * shared + math.sqrt(1 - rho) * arm_noise
        level = alpha / len(effects)
        low, high = intervals(arm - base, df, rng, level, 2 - 2 * rho if by_seed else 2.0)
        better, worse = high < 0, low > 0
        equal = (low > -margin) & (high < margin) & ~better & ~worse
        decided = better | worse | equal
        decided[:, : FEWEST_SEEDS - 1] = False  # a study does not decide before
        end = np.where(decided.any(axis=1), decided.argmax(axis=1), cap - 1)
        at_end = np.arange(repeats), end
        wrong = (better & (effect >= 0)) | (worse & (effect <= 0)) | (equal & (abs(effect) >= margin))
        any_wrong |= wrong[at_end] & decided[at_end]
        last = np.maximum(last, end + 1)  # the baseline has every seed of its arms
        runs += float(np.mean(end + 1))
        undecided += float(np.mean(~decided[at_end]))
    return FamilyOutcome(float(any_wrong.mean()), (runs + float(last.mean())) / len(effects), undecided / len(effects))


FAMILIES = {
    "no arm differs": (0.0,) * 9,
    "one of nine differs by 3 sd": (3.0, *(0.0,) * 8),
    "three arms": (0.0, 2.0, 4.0),
}


def print_families(margin: float, repeats: int, cap: int, alpha: float) -> None:
    print("\n| family | noise | rho | any wrong decision | runs per arm | undecided |\n" + "| --- " * 6 + "|")
    for name, effects in FAMILIES.items():
        for noise in ("known", "study of 20 df, by seed", "estimated"):
            for rho in CORRELATIONS:
                found = simulate_family(effects, noise, rho, margin=margin, repeats=repeats, cap=cap, alpha=alpha)
                print(f"| {name} | {noise} | {rho:g} | {found.wrong:.3f} | {found.runs:.1f} | {found.undecided:.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--margin", type=float, default=2.0, help="in standard deviations of a score (default: 2)")
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--cap", type=int, default=60, help="largest number of pairs (default: 60)")
    parser.add_argument("--alpha", type=float, default=0.05)
    args = parser.parse_args()
    print(f"margin {args.margin:g} sd, alpha {args.alpha:g}, at most {args.cap} pairs, {args.repeats:,} repeats\n")
    print(
        "| noise | rho | "
        + " | ".join(f"{effect:g} sd" for effect in EFFECTS)
        + " | wrong, at most | missed, at most |"
    )
    print("| --- |" + " --- |" * (len(EFFECTS) + 3))
    same = {"repeats": args.repeats, "cap": args.cap, "alpha": args.alpha}
    for name in NOISE:
        for rho in CORRELATIONS:
            found = [simulate(effect, name, rho, margin=args.margin, **same) for effect in EFFECTS]
            cells = [f"{o.pairs:.1f}" + (f" ({o.undecided:.0%} undecided)" if o.undecided else "") for o in found]
            worst = f"{max(o.wrong for o in found):.3f} | {max(o.missed for o in found):.3f}"
            print(f"| {name} | {rho:g} | {' | '.join(cells)} | {worst} |")
    print(
        "\n| noise of a score | sd ratio | missed, noise known | missed, noise estimated |\n| --- | --- | --- | --- |"
    )
    for shape in ("normal", "t of 3 df", "exponential"):
        for ratio in (1, 3, 9):
            shares = [f"{missed_by_shape(shape, ratio, df, **same):.3f}" for df in (math.inf, 0.0)]
            print(f"| {shape} | {ratio} | {' | '.join(shares)} |")
    print_families(args.margin, args.repeats, args.cap, args.alpha)


if __name__ == "__main__":
    main()
