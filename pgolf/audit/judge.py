"""Decides what a difference of two results is: rounding, a dependence that should not be, or a function that drifts.

Results of one shape are compared bit by bit. If they differ, the same two calls are repeated in float64. Rounding then
shrinks with the precision, by about 1e9 from float32. A dependence does not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from pgolf.audit.probe import Probe, Refused, Tally
from pgolf.audit.tolerance import Change, Tolerance, largest_change, precision_of

EPS = torch.finfo(torch.float64).eps
SAFETY = 64.0  # times what the tolerance, or the change itself, is in float64
CONFIRMED = 3  # dependences of one check; later changes are counted without another look
MARGIN = 8.0  # tolerances: a larger change is not rounding, whatever float64 shows. Longer inputs need more than one
SAME_RESULT = 16.0  # tolerances: the mean difference of float64 to the given arithmetic
View = Callable[[Tensor], Tensor]


class Kind(Enum):
    """What a change is. UNCLEAR: float64 cannot be executed, and rounding explains a change of this size."""

    ROUNDING = 1
    DEPENDENCE = 2
    UNCLEAR = 3
    DRIFT = 4


def _size(change: Change) -> float:
    return change.size


@dataclass
class Called:
    """The ids [B, T] of one call, its result [B, T, V], and the result in float64 once that was needed."""

    ids: Tensor
    logp: Tensor
    double: Tensor | Refused | None = None


@dataclass
class Judge:
    """Compares results. limit: nats that identical calls may differ by, 0 if they gave equal bits.

    tolerance: what rounding explains. drift: the largest difference of a repeated identical call, if there was one.
    """

    probe: Probe
    limit: float
    tolerance: Tolerance
    drift: Change = field(default_factory=Change)

    def call(self, ids_BT: Tensor) -> Called:
        """Call the function. Raises Refused."""
        return Called(ids_BT, self.probe(ids_BT))

    def compare(
        self,
        tally: Tally,
        first: Called,
        second: Called,
        views: tuple[View, View],
        where: str,
        *,
        at: tuple[int, int] = (0, 0),
        limit: float | None = None,
        **data: Any,
    ) -> None:
        """Count one comparison of a part of two results. views: the parts. at: row and position of their first entry.

        limit: nats that need no decision; by default those of identical calls. where, data: as for `Tally.add`.
        """
        limit = self.limit if limit is None else limit
        seen = largest_change(views[0](first.logp), views[1](second.logp))
        change = Change(seen.size, seen.row + at[0], seen.position + at[1], seen.entry)
        if change.size <= limit or tally.broken >= CONFIRMED:
            tally.add(change, limit, where, **data)
            return
        kind, text = self._kind(first, second, views, change)
        if kind is Kind.DEPENDENCE:
            tally.add(change, limit, where, **data)
        elif kind is Kind.DRIFT:
            tally.unclear = tally.unclear or text
        else:
            tally.add_decided(change, where, text, clear=kind is Kind.ROUNDING)

    def _kind(self, first: Called, second: Called, views: tuple[View, View], change: Change) -> tuple[Kind, str]:
        """What a change is, and the evidence in words."""
        again = max((largest_change(called.logp, self.probe(called.ids)) for called in (first, second)), key=_size)
        if again.size > self.limit:
            self.drift = max(self.drift, again, key=_size)
            return Kind.DRIFT, f"an identical call differs by {again.size:.3g} nats; mend the state checks first"
        if change.size > MARGIN * self.tolerance.nats:
            return Kind.DEPENDENCE, ""
        if self.tolerance.eps <= EPS:
            return Kind.UNCLEAR, "the arithmetic is float64 already"
        results = [self._in_double(called) for called in (first, second)]
        refused = next((result for result in results if isinstance(result, Refused)), None)
        if refused is not None:
            return self._by_size(change, f"float64 cannot be executed: {refused}")
        a, b = (result for result in results if isinstance(result, Tensor))
        if torch.equal(a, b) and not torch.equal(first.ids, second.ids):
            return self._by_size(change, "other tokens change nothing in float64")
        size = largest_change(views[0](a), views[1](b)).size
        allowed = SAFETY * (self.tolerance.nats + change.size) * EPS / self.tolerance.eps
        return (Kind.ROUNDING if size <= allowed else Kind.DEPENDENCE), f"{size:.1e} nats in float64"

    def _by_size(self, change: Change, reason: str) -> tuple[Kind, str]:
        """Without float64, only a change above the tolerance is known not to be rounding."""
        is_large = change.size > self.tolerance.nats
        return (Kind.DEPENDENCE if is_large else Kind.UNCLEAR), reason

    def _in_double(self, called: Called) -> Tensor | Refused:
        """The result in float64, if it is one and agrees with the given arithmetic."""
        if called.double is None:
            try:
                result = self.probe.double(called.ids)
                off = (result - called.logp.double()).nan_to_num(0.0, 0.0, 0.0).abs()
                if result.dtype != torch.float64 or precision_of(result) != torch.float64:
                    called.double = Refused(f"the result is {str(precision_of(result)).removeprefix('torch.')}")
                elif result.shape != called.logp.shape or float(off.mean()) > SAME_RESULT * self.tolerance.nats:
                    called.double = Refused("its result is another one")
                else:
                    called.double = result
            except Refused as refused:
                called.double = refused
        return called.double
