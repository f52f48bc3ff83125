"""The result depends on the row alone: not on earlier calls, other rows, their order or the batch size."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pgolf.audit.judge import Judge
from pgolf.audit.probe import Inputs, Probe, Refused, Tally
from pgolf.audit.tolerance import NOISE_SAFETY, Change, Tolerance, largest_change

ROWS, ROWS_LONG = 4, 2  # rows of a batch of the shortest length, and of the longest one
IDENTICAL = 8  # calls with one input, if the first two differ
GROWN = 3.0  # a drift: the last result is farther from the first one than this many steps


@dataclass(frozen=True)
class Repeats:
    """Differences, in nats, of calls with one input: straight after one another, and with other data in between.

    drift: one of a later call, or one that grew from call to call. tolerance: what the order of the arithmetic
    explains. limit: what later comparisons of one shape may differ by, 0 if the calls gave equal bits. unstable: why
    such comparisons show nothing, empty if they do.
    """

    straight: Change
    between: Change
    tolerance: Tolerance = field(default=Tolerance(0.0, ""))
    drift: Change = field(default_factory=Change)

    @property
    def noise(self) -> float:
        return max(self.straight.size, self.between.size)

    @property
    def limit(self) -> float:
        return NOISE_SAFETY * self.noise

    @property
    def unstable(self) -> str:
        if self.drift.size:
            return f"results of one input drift, by {self.drift.size:.3g} nats; mend the state checks first"
        if self.noise <= self.tolerance.nats:
            return ""
        return (
            f"calls with one input differ by {self.noise:.3g} nats, more than the tolerance {self.tolerance.nats:.1e}; "
            "mend the state checks first"
        )

    @property
    def note(self) -> str:
        if self.noise == 0:
            return "identical calls give equal bits, so none may differ"
        return f"identical calls differ by {self.noise:.1e} nats, so {self.limit:.1e} is allowed"


def repeats(probe: Probe, inputs: Inputs, length: int) -> Repeats:
    """Call with one input [1, T] several times, the last time after two calls with other data.

    Differences of noise have one size. Those of a drift grow: the last call is then far from the first one, compared
    with calls that follow one another.
    """
    ids = inputs.ids(1, length)
    probe(ids)
    base = previous = probe(ids)
    steps, whole = [], Change()
    for _ in range(IDENTICAL):
        result = probe(ids)
        steps.append(largest_change(previous, result))
        whole, previous = largest_change(base, result), result
        if whole.size == 0 and steps[-1].size == 0:
            break  # equal bits: a slower drift shows where a later comparison differs
    step = max(steps, key=lambda change: change.size)
    drift = whole if len(steps) == IDENTICAL and whole.size > GROWN * step.size else Change()
    for _ in range(2):
        probe(inputs.ids(1, length))
    return Repeats(steps[0], largest_change(base, probe(ids)), drift=drift)


def batches(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(rows, length) of the batches: many rows of the shortest length, and a few of the longest one."""
    return [(ROWS, lengths[0]), *([(ROWS_LONG, lengths[-1])] if len(lengths) > 1 else [])]


def other_rows(judge: Judge, inputs: Inputs, shape: tuple[int, int], label: str, tally: Tally) -> None:
    """Replace all rows but one of a batch [B, T]; that row must not change. Both calls have one shape."""
    size, length = shape
    base, rows = judge.call(inputs.ids(size, length)), torch.arange(size)
    for row in range(size):
        result = judge.call(inputs.other(base.ids, (rows != row)[:, None]))
        own = operator.itemgetter(slice(row, row + 1))
        where = f"{label}, length {length}: after a change of all rows but {row}"
        judge.compare(tally, base, result, (own, own), where, at=(row, 0), length=length)


def order(judge: Judge, inputs: Inputs, shape: tuple[int, int], tally: Tally) -> None:
    """Reverse the rows of a batch [B, T]: the results must be reversed too."""
    rows, length = shape
    base = judge.call(inputs.ids(rows, length))
    where, views = f"length {length}: with {rows} rows reversed", (_same, operator.methodcaller("flip", 0))
    judge.compare(tally, base, judge.call(base.ids.flip(0)), views, where, limit=judge.tolerance.nats, length=length)


def batch_of_one(judge: Judge, inputs: Inputs, shape: tuple[int, int], tally: Tally) -> None:
    """Each row alone must give its result in the batch [B, T]."""
    rows, length = shape
    base = judge.call(inputs.ids(rows, length))
    for row in range(rows):
        own, alone = operator.itemgetter(slice(row, row + 1)), judge.call(base.ids[row : row + 1])
        where = f"length {length}: scored alone instead of among {rows} rows"
        limit = judge.tolerance.nats
        judge.compare(tally, base, alone, (own, _same), where, at=(row, 0), limit=limit, length=length)


def prefixes(judge: Judge, inputs: Inputs, shape: tuple[int, int], tally: Tally) -> None:
    """A prefix alone must give the results of the longer input: of one token, of half and of all but the last."""
    rows, length = shape
    base = judge.call(inputs.ids(rows, length))
    for size in sorted({1, math.ceil(length / 2), length - 1}):
        begin = operator.itemgetter((slice(None), slice(size)))
        try:
            alone = judge.call(base.ids[:, :size])
        except Refused as refused:
            tally.reason = f"a length of {size} is refused: {refused}"
            continue
        where = f"length {length}: with the first {size} tokens scored alone"
        limit = judge.tolerance.nats
        judge.compare(tally, base, alone, (begin, _same), where, limit=limit, length=length, prefix=size)


def _same(logp_BTV: Tensor) -> Tensor:
    return logp_BTV
