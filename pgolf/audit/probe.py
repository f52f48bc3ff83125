"""The audited function behind one call, and the inputs that it is called with."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from pgolf.audit.report import Check, Verdict
from pgolf.audit.tolerance import Change
from pgolf.errors import OptionError

LogProbabilities = Callable[[Tensor], Tensor]


class Refused(Exception):
    """The audited function raised an exception for an input; the message has its type and text."""


class Probe:
    """Calls a function ids[B, T] -> log-probabilities[B, T, V] without gradients.

    The function gets a copy of the ids on its device. Its result is copied to the CPU, because a function may return
    the same memory again. Raises Refused.
    """

    def __init__(self, logp: LogProbabilities, device: torch.device):
        self.logp, self.device = logp, device

    def __call__(self, ids_BT: Tensor) -> Tensor:
        with torch.no_grad():
            return self.raw(ids_BT).detach().to("cpu", copy=True)

    def raw(self, ids_BT: Tensor) -> Tensor:
        """The result itself, with its graph where gradients are enabled."""
        try:
            result = self.logp(ids_BT.to(self.device, copy=True))
        except Exception as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        if not isinstance(result, Tensor):
            remedy = "return one tensor of log-probabilities [B, T, V]"
            raise OptionError("logp", f"a function that returns {type(result).__name__}", remedy)
        return result


class Inputs:
    """Random token ids, and changes of them. document_start: an id that `without_start` leaves out."""

    def __init__(self, vocab_size: int, document_start: int | None, seed: int):
        self.vocab_size, self.document_start = vocab_size, document_start
        self.generator = torch.Generator().manual_seed(seed)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform integers from 0 to high - 1."""
        return torch.randint(high, shape, generator=self.generator)

    def ids(self, batch: int, length: int) -> Tensor:
        """Uniform ids [B, T]; with a document start at the first position and at a third of the length."""
        ids = self.integers(self.vocab_size, batch, length)
        if self.document_start is not None:
            ids[:, 0] = ids[:, length // 3] = self.document_start
        return ids

    def without_start(self, batch: int, length: int) -> Tensor:
        """Uniform ids [B, T] other than the document start."""
        assert self.document_start is not None
        ids = self.integers(self.vocab_size - 1, batch, length)
        return ids + (ids >= self.document_start)

    def other(self, ids_BT: Tensor, where: Tensor, *, keep_documents: bool = False) -> Tensor:
        """The ids with every token under the mask `where` replaced by another one.

        where: broadcasts to [B, T]. keep_documents: neither old nor new tokens under the mask are document starts.
        """
        start, size = self.document_start, self.vocab_size
        if keep_documents and start is not None:
            rank = ids_BT - (ids_BT > start).long()
            moved = (rank + 1 + self.integers(size - 2, *ids_BT.shape)) % (size - 1)
            changed = moved + (moved >= start).long()
        else:
            changed = (ids_BT + 1 + self.integers(size - 1, *ids_BT.shape)) % size
        return torch.where(where.expand_as(ids_BT), changed, ids_BT)

    def positions(self, length: int, every: int, sampled: int) -> list[int]:
        """Positions 0 to T - 2: all of them up to a length of `every`, else the ends, the middle and a sample."""
        last = length - 2
        if length <= every:
            return list(range(length - 1))
        drawn = self.integers(length - 1, sampled).tolist()
        return sorted({0, 1, length // 2 - 1, length // 2, last, *drawn})


CHANGED = "{where}: the log-probability of entry {entry} at position {position} of row {row} changes by {size:.3g} nats"


@dataclass
class Tally:
    """The comparisons of one check.

    broken: how many exceeded their limit. worst: the largest of those, `where` in words. reason: why some or all
    comparisons could not be made. notes: what else a reader should know, such as the tolerance.
    template: the evidence of a broken check.
    """

    comparisons: int = 0
    broken: int = 0
    worst: Change = field(default_factory=Change)
    where: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    template: str = CHANGED
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, change: Change, limit: float, where: str, **data: Any) -> None:
        """Count one comparison. where: what was changed, in words; data: the same as numbers."""
        self.comparisons += 1
        if change.size > limit:
            self.broken += 1
            if self.broken == 1 or change.size > self.worst.size:
                self.worst, self.where, self.data = change, where, data

    def check(self, rule: str, name: str, limits: str) -> Check:
        """The verdict with its evidence."""
        notes = "".join(f"; {note}" for note in dict.fromkeys([*self.notes, self.reason]) if note)
        if self.broken:
            change = self.worst
            seen = self.template.format(where=self.where, **asdict(change))
            evidence = f"{seen}; {self.broken} of {self.comparisons} comparisons{notes}"
            size = change.size if change.size < float("inf") else None
            place = {"row": change.row, "position": change.position, "entry": change.entry, "size": size}
            data = {"comparisons": self.comparisons, "broken": self.broken, **place, **self.data}
            return Check(rule, name, Verdict.FAIL, evidence, limits, data)
        if not self.comparisons:
            return Check(rule, name, Verdict.NOT_CHECKED, self.reason or "nothing could be compared", limits)
        data = {"comparisons": self.comparisons, "broken": 0}
        return Check(rule, name, Verdict.PASS, f"{self.comparisons} comparisons{notes}", limits, data)
