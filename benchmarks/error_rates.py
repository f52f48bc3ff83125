"""Error rates, coverage and power of the rules that decide, by simulation with the functions that make the tables.

    python benchmarks/error_rates.py [--draws 1000] [--noise skewed] [--tests named]     a few minutes of one core

The tests are the four of the tables' sensitivity, or with `--tests named` the two others that a study can name.

A family has a baseline and five arms. Scores are normal, or skewed: their logarithms have an sd of 0.7. The sd of the
baseline and of three arms is 1, that of the two others is the ratio. The correlation is that of all arms through the
seed. The margin is 4 sd. Columns:

- difference: any of five equal arms is called worse or better (at most 5%)
- one arm: the same of a single comparison, uncorrected (5%); coverage: of its 95% interval (95%)
- equality: any of five arms that differ by exactly the margin is shown to differ by less (at most 2.5%)
- power: an arm of sd 1 that is worse by 4 sd is found, while the others do not differ
- equal: an arm of sd 1 without a difference is shown to be equal within the margin
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from pgolf.tables.decision import Decision, Rules, corrected
from pgolf.tables.methods import SENSITIVITY, WELCH, Method, Sample, compare
from pgolf.tables.order import order_agreement
from pgolf.tables.stats import ALPHA, TTest, t_test

ARMS, MARGIN, EFFECT = 5, 4.0, 4.0
NAMED = (Method("pooled"), Method("moderated", blocked=True))  # by a study alone
SKEW = 0.7  # sd of the logarithm of skewed noise
SEEDS, CORRELATIONS, RATIOS = (3, 5, 10), (0.0, 0.3, 0.6), (1.0, 3.0, 9.0)
TITLES = ("difference", "one arm", "coverage", "equality", "power", "equal")


@dataclass(frozen=True)
class World:
    """What scores are drawn from. n: seeds. correlation: of arms through the seed. ratio: of standard deviations.

    is_skewed: whether noise has a long tail of bad scores instead of being normal.
    """

    n: int
    correlation: float = 0.0
    ratio: float = 1.0
    is_skewed: bool = False

    def noise(self, rng: np.random.Generator, size: int | tuple[int, int]) -> "np.typing.NDArray[np.float64]":
        """Noise of mean 0 and sd 1."""
        normal = rng.normal(size=size)
        if not self.is_skewed:
            return normal
        mean, variance = math.exp(SKEW**2 / 2), math.exp(SKEW**2) * math.expm1(SKEW**2)
        return np.asarray((np.exp(SKEW * normal) - mean) / math.sqrt(variance))

    def draw(self, rng: np.random.Generator) -> list[Sample]:
        """The scores of the baseline and of ARMS equal arms, by seed."""
        sds = np.array([1.0, 1.0, self.ratio, 1.0, self.ratio, 1.0])
        common, own = self.noise(rng, self.n), self.noise(rng, (ARMS + 1, self.n))
        scores = sds[:, None] * (math.sqrt(self.correlation) * common + math.sqrt(1 - self.correlation) * own)
        return [dict(enumerate(map(float, row))) for row in scores]


def shifted(test: TTest, by: float) -> TTest:
    """The test that scores shifted by a constant give."""
    if test.difference is None or test.error is None or test.df is None:
        return test
    return t_test(test.name, test.n, test.difference + by, test.error, test.df, 0.0, "two-sided")


def outcomes(tests: Sequence[TTest]) -> Iterator[bool]:
    """What happened in one draw, in the order of TITLES."""
    rules = Rules(MARGIN)
    at_zero = [found for found in corrected(tests, rules) if found]
    yield any(found.decision.sign for found in at_zero)
    yield any(test.p is not None and test.p < ALPHA for test in tests[:1])
    yield tests[0].low is not None and tests[0].high is not None and tests[0].low <= 0 <= tests[0].high
    at_margin = [found for found in corrected([shifted(test, MARGIN) for test in tests], rules) if found]
    yield any(found.decision.is_small for found in at_margin)
    (one, *_) = corrected([shifted(tests[0], EFFECT), *tests[1:]], rules)
    yield one is not None and one.decision.sign == 1
    yield at_zero[0].decision is Decision.EQUAL


def rates(method: Method, world: World, draws: int, seed: int = 0) -> dict[str, float]:
    """The share of draws in which each of TITLES happened."""
    rng = np.random.default_rng(seed)
    contrasts = [(arm, 0) for arm in range(1, ARMS + 1)]
    found = [list(outcomes(compare(method, world.draw(rng), contrasts))) for _ in range(draws)]
    return dict(zip(TITLES, np.mean(found, axis=0).tolist(), strict=True))


def false_reversals(world: World, draws: int, margin: float = 0.1, seed: int = 0) -> float:
    """How often an order of equal arms is called reversed by more than the margin. Every pair is tested by Welch's."""
    rng, pairs = np.random.default_rng(seed), list(combinations(range(ARMS + 1), 2))
    turned = [(later, earlier) for earlier, later in pairs]
    orders = (order_agreement(compare(WELCH, world.draw(rng), turned), Rules(margin), ARMS + 1) for _ in range(draws))
    return sum(order.reversed_by_more > 0 for order in orders) / draws


def decisions(difference: float, sd: float, margin: float, n: int, draws: int, seed: int = 0) -> dict[Decision, float]:
    """The shares of decisions on one arm by Welch's test."""
    rng, counts = np.random.default_rng(seed), dict.fromkeys(Decision, 0.0)
    for _ in range(draws):
        base, arm = (dict(enumerate(map(float, row))) for row in rng.normal(0, sd, size=(2, n)))
        (found,) = corrected(
            [shifted(test, difference) for test in compare(WELCH, [base, arm], [(1, 0)])], Rules(margin)
        )
        counts[Decision.UNDECIDED if found is None else found.decision] += 1 / draws
    return counts


def table_of_rates(methods: Sequence[Method], draws: int, *, is_skewed: bool) -> Iterator[str]:
    yield f"| test | seeds | correlation | sd ratio | {' | '.join(TITLES)} |"
    yield "| --- " * (4 + len(TITLES)) + "|"
    for method, n, correlation, ratio in product(methods, SEEDS, CORRELATIONS, RATIOS):
        found = rates(method, World(n, correlation, ratio, is_skewed), draws)
        cells = " | ".join(f"{share:.3f}" for share in found.values())
        yield f"| {method.label} | {n} | {correlation:g} | {ratio:g} | {cells} |"


def table_of_decisions(draws: int) -> Iterator[str]:
    """A true difference of 0.004 at sd 0.0026 and margin 0.01, as seeds are added."""
    yield f"| true difference | seeds | {' | '.join(decision.value for decision in Decision)} |"
    yield "| --- " * (2 + len(Decision)) + "|"
    for difference, n in product((0.0, 0.004, 0.02), (3, 5, 10, 30)):
        found = decisions(difference, 0.0026, 0.01, n, draws)
        yield f"| {difference:g} | {n} | {' | '.join(f'{share:.3f}' for share in found.values())} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="simulated families per row; default 1000")
    parser.add_argument("--noise", choices=["normal", "skewed"], default="normal", help="skewed: the first table alone")
    parser.add_argument(
        "--tests", choices=["sensitivity", "named"], default="sensitivity", help="named: the first table alone"
    )
    args = parser.parse_args()
    draws, is_skewed = args.draws, args.noise == "skewed"
    for line in table_of_rates(NAMED if args.tests == "named" else SENSITIVITY, draws, is_skewed=is_skewed):
        print(line, flush=True)
    if is_skewed or args.tests == "named":
        return 0
    print()
    for line in table_of_decisions(draws):
        print(line, flush=True)
    print("\n| order of six equal arms | seeds | sd ratio | called reversed |\n| --- | --- | --- | --- |")
    for n, ratio in product(SEEDS, RATIOS):
        share = false_reversals(World(n, ratio=ratio), draws)
        print(f"| Welch | {n} | {ratio:g} | {share:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
