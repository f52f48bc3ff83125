"""Ranks of low-rank maps, one per block: by depth, or from singular values of trained matrices. Plain numbers only.

Energy is the sum of squared singular values. It belongs to weights or to activations, as the singular values do. It is
a proxy: only a score says what a rank costs.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

from pgolf.errors import require


def depth_profile(first: int, last: int, blocks: int) -> list[int]:
    """`blocks` ranks on a straight line from `first` to `last`, rounded. A single block has the first."""
    return [round(first + (last - first) * i / max(1, blocks - 1)) for i in range(blocks)]


def energy_ranks(spectra: Sequence[Sequence[float]], energy: float) -> list[int]:
    """The smallest rank of each matrix that keeps a share of its energy: min{r : sum_{i<=r} s_i^2 >= e sum_i s_i^2}.

    spectra: the singular values of each matrix, in any order. energy: e, above 0 and at most 1. Raises OptionError.
    """
    require(0 < energy <= 1, "energy", energy, "choose above 0 and at most 1")
    ranks = []
    for squares in map(squared, spectra):
        kept = list(accumulate(squares))
        ranks.append(next(r for r, sum_so_far in enumerate(kept, 1) if sum_so_far >= energy * kept[-1]))
    return ranks


def budget_ranks(spectra: Sequence[Sequence[float]], costs: Sequence[int], parameters: int) -> list[int]:
    """The ranks that keep most energy per parameter: the largest s_i^2 / cost over all matrices first.

    costs: parameters that one more rank adds to each matrix, rows plus columns. parameters: of all factors together, at
    most. Every matrix has at least rank 1. A matrix whose next rank is not affordable, or that has no rank left, stays
    as it is. Raises OptionError.
    """
    require(len(costs) == len(spectra), "costs", list(costs), f"give one cost for each of {len(spectra)} spectra")
    require(all(cost >= 1 for cost in costs), "costs", list(costs), "choose positive numbers of parameters")
    least = sum(costs)
    require(parameters >= least, "parameters", parameters, f"choose {least} or more: rank 1 everywhere costs that much")
    squares = [squared(spectrum) for spectrum in spectra]
    ranks, left = [1] * len(squares), parameters - least
    growing = {i for i, s in enumerate(squares) if len(s) > 1}
    while growing:
        best = max(sorted(growing), key=lambda i: squares[i][ranks[i]] / costs[i])
        if costs[best] > left:
            growing.remove(best)
            continue
        ranks[best] += 1
        left -= costs[best]
        if ranks[best] == len(squares[best]):
            growing.remove(best)
    return ranks


def squared(spectrum: Sequence[float]) -> list[float]:
    """The squared singular values, largest first. Raises OptionError for none, all zero, negative or not finite."""
    fits = bool(spectrum) and all(math.isfinite(s) and s >= 0 for s in spectrum) and max(spectrum) > 0
    require(fits, "spectra", list(spectrum)[:5], "give finite singular values of at least 0, not all of them zero")
    return sorted((s * s for s in spectrum), reverse=True)
