"""Simulates effective speedups: coverage and width of the interval, and bias under a wrong law.

    python benchmarks/speedup.py              # less than a CPU minute

A baseline and an arm run at each rung of a ladder, rungs a doubling apart. The arm is as good as the baseline with
`GAIN` times its compute. A run has a standard deviation of `sd` bpb between seeds, of which the share `rho` of the
variance is that of the seed at its rung, which both arms have in common. The worlds:

- true: L = 1.2 + C^-0.35, with C in units of the middle of the ladder,
- two powers: 1.2 + 0.7 C^-0.2 + 0.3 C^-0.9,
- straight: a straight line over ln C, so that alpha and L_inf do not exist,
- short run: the true law, but both arms score 0.03 worse at the first rung, as with too short a warmup.

Printed: the share of repeats with a number, the coverage of the 95% interval, its mean half-width and the bias of the
speedup in percent, and the share of seeds whose alpha and L_inf are identified. Then coverage and bias if the arm's
score alone is looked up in the law, instead of the gap.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pgolf.tables.scaling import Law, Paired, Speedup, fit_law, speedup

GAIN = 1.25
WORLDS: dict[str, Callable[[float], float]] = {
    "true": lambda c: 1.2 + c**-0.35,
    "two powers": lambda c: 1.2 + 0.7 * c**-0.2 + 0.3 * c**-0.9,
    "straight": lambda c: 2.2 - 0.25 * math.log(c),
    "short run": lambda c: 1.2 + c**-0.35,
}
COST_OF_THE_FIRST = {"short run": 0.03}


@dataclass(frozen=True)
class Outcome:
    """covered, half, bias: of the repeats with a number. half, bias: of the logarithm. They are NaN without any."""

    numbers: float
    covered: float
    half: float
    bias: float


def outcome(found: list[Speedup], true: float) -> Outcome:
    kept = [(one.ratio, *one.bounds) for one in found if one.ratio is not None and one.bounds is not None]
    if not kept:
        return Outcome(0.0, math.nan, math.nan, math.nan)
    logs = [[math.log(x) - math.log(true) for x in one] for one in kept]
    return Outcome(
        len(kept) / len(found),
        fmean(low < 0 < high for _, low, high in logs),
        fmean((high - low) / 2 for _, low, high in logs),
        fmean(middle for middle, *_ in logs),
    )


def simulate(
    world: str,
    sd: float,
    *,
    rungs: int = 4,
    seeds: int = 5,
    rung: int = 2,
    rho: float = 0.5,
    repeats: int,
    seed: int = 18,
) -> tuple[Outcome, Outcome, float]:
    """(by the gap, by the arm's score alone, share of identified laws) at one rung, counted from 0."""
    draw, curve = np.random.default_rng(seed), WORLDS[world]
    compute = [2.0 ** (at - 2) for at in range(rungs)]
    cost = np.zeros(rungs)
    cost[0] = COST_OF_THE_FIRST.get(world, 0.0)
    exact = np.array([curve(c) for c in compute]) + cost
    by_gap, by_score, identified = [], [], []
    for _ in range(repeats):
        laws, gaps, alone = {}, {}, {}
        for one in range(seeds):
            common = sd * math.sqrt(rho) * draw.standard_normal(rungs)
            own = sd * math.sqrt(1 - rho) * draw.standard_normal(rungs + 1)
            scores = exact + common + own[:-1]
            arm = curve(GAIN * compute[rung]) + cost[rung] + common[rung] + own[-1]
            law = fit_law(compute, list(map(float, scores)))
            assert isinstance(law, Law), law
            laws[one] = law
            gaps[one] = Paired(compute[rung], compute[rung], float(arm - scores[rung]))
            alone[one] = Paired(compute[rung], compute[rung], float(arm) - law.score(compute[rung]))
        by_gap.append(speedup(laws, gaps))
        by_score.append(speedup(laws, alone))
        identified.append(fmean(not law.problem for law in laws.values()))
    return outcome(by_gap, GAIN), outcome(by_score, GAIN), fmean(identified)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    args = parser.parse_args()
    print(f"true speedup {GAIN}, {args.repeats:,} repeats\n")
    titles = "world|sd|rungs|seeds|at rung|numbers|coverage|half-width|bias|identified|score alone: coverage|bias"
    print(f"| {titles.replace('|', ' | ')} |\n|{' --- |' * 12}")
    cases = [("true", sd, 4, seeds, 2) for sd in (0.002, 0.004, 0.01) for seeds in (3, 5)]
    cases += [("true", 0.004, 3, 5, 1), ("true", 0.004, 4, 5, 0), ("true", 0.004, 4, 5, 3), ("true", 0.004, 5, 5, 2)]
    cases += [(world, 0.004, 4, 5, rung) for world in ("two powers", "straight", "short run") for rung in (0, 2, 3)]
    for world, sd, rungs, seeds, rung in cases:
        gap, alone, identified = simulate(world, sd, rungs=rungs, seeds=seeds, rung=rung, repeats=args.repeats)
        print(
            f"| {world} | {sd:g} | {rungs} | {seeds} | {rung + 1} | {gap.numbers:.2f} | {gap.covered:.3f} "
            f"| {100 * gap.half:.1f}% | {100 * gap.bias:+.2f}% | {identified:.2f} | {alone.covered:.3f} "
            f"| {100 * alone.bias:+.2f}% |"
        )


if __name__ == "__main__":
    main()
