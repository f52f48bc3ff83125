"""The result depends on the row alone: not on earlier calls, other rows, their order or the batch size."""

import math
from dataclasses import dataclass, field

import torch

from pgolf.audit.probe import Inputs, Probe, Refused, Tally
from pgolf.audit.tolerance import NOISE_SAFETY, Change, Tolerance, largest_change

ROWS = 4  # rows of a batch


@dataclass(frozen=True)
class Repeats:
    """Differences, in nats, of calls with one input: straight after one another, and with other data in between.

    tolerance: what the order of the arithmetic explains. limit: what later comparisons of one shape may differ by, 0 if
    the calls gave equal bits. unstable: why such comparisons show nothing, empty if they do.
    """

    straight: Change
    between: Change
    tolerance: Tolerance = field(default=Tolerance(0.0, ""))

    @property
    def noise(self) -> float:
        return max(self.straight.size, self.between.size)

    @property
    def limit(self) -> float:
        return NOISE_SAFETY * self.noise

    @property
    def unstable(self) -> str:
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
    """Call with one input [1, T] four times, the last time after two calls with other data."""
    ids = inputs.ids(1, length)
    probe(ids)
    base, again = probe(ids), probe(ids)
    for _ in range(2):
        probe(inputs.ids(1, length))
    return Repeats(largest_change(base, again), largest_change(base, probe(ids)))


def other_rows(probe: Probe, inputs: Inputs, length: int, limit: float, label: str, tally: Tally) -> None:
    """Replace all rows but one of a batch [B, T]; that row must not change. Both calls have one shape."""
    ids, rows = inputs.ids(ROWS, length), torch.arange(ROWS)
    base = probe(ids)
    for row in range(ROWS):
        result = probe(inputs.other(ids, (rows != row)[:, None]))
        change = largest_change(base[row : row + 1], result[row : row + 1])
        where = f"{label}, length {length}: after a change of all rows but {row}"
        tally.add(Change(change.size, row, change.position, change.entry), limit, where, length=length)


def order(probe: Probe, inputs: Inputs, length: int, tolerance: Tolerance, tally: Tally) -> None:
    """Reverse the rows of a batch: the results must be reversed too."""
    ids = inputs.ids(ROWS, length)
    change = largest_change(probe(ids), probe(ids.flip(0)).flip(0))
    tally.add(change, tolerance.nats, f"length {length}: with {ROWS} rows reversed", length=length)


def batch_of_one(probe: Probe, inputs: Inputs, length: int, tolerance: Tolerance, tally: Tally) -> None:
    """Each row alone must give its result in the batch."""
    ids = inputs.ids(ROWS, length)
    base = probe(ids)
    for row in range(ROWS):
        change = largest_change(base[row : row + 1], probe(ids[row : row + 1]))
        where = f"length {length}: scored alone instead of among {ROWS} rows"
        tally.add(Change(change.size, row, change.position, change.entry), tolerance.nats, where, length=length)


def prefixes(probe: Probe, inputs: Inputs, length: int, tolerance: Tolerance, tally: Tally) -> None:
    """A prefix alone must give the results of the longer input: of one token, of half and of all but the last."""
    ids = inputs.ids(1, length)
    base = probe(ids)
    for size in sorted({1, math.ceil(length / 2), length - 1}):
        try:
            change = largest_change(base[:, :size], probe(ids[:, :size]))
        except Refused as refused:
            tally.reason = f"a length of {size} is refused: {refused}"
            continue
        where = f"length {length}: with the first {size} tokens scored alone"
        tally.add(change, tolerance.nats, where, length=length, prefix=size)
