"""The audited function behind one call, and the inputs that it is called with."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.audit.double import in_double
from pgolf.audit.report import Check, Verdict
from pgolf.audit.tolerance import Change
from pgolf.errors import OptionError

LogProbabilities = Callable[[Tensor], Tensor]
DENSE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Refused(Exception):
    """The audited function raised an exception for an input; the message has its type and text."""


class Probe:
    """Calls a function ids[B, T] -> log-probabilities[B, T, V] without gradients.

    The function gets a copy of the ids on its device. Its result is copied to the CPU, because a function may return
    the same memory again. module: what the function belongs to, if that is known. Raises Refused.
    """

    def __init__(self, logp: LogProbabilities, device: torch.device, module: nn.Module | None = None):
        self.logp, self.device, self.module = logp, device, module

    def __call__(self, ids_BT: Tensor) -> Tensor:
        with torch.no_grad():
            return self.raw(ids_BT).detach().to("cpu", copy=True)

    def double(self, ids_BT: Tensor) -> Tensor:
        """The result of the same call with all operations in float64."""
        with in_double(self.module):
            return self(ids_BT)

    def raw(self, ids_BT: Tensor) -> Tensor:
        """The result itself, with its graph where gradients are enabled."""
        try:
            result = self.logp(ids_BT.to(self.device, copy=True))
        except Exception as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        if not isinstance(result, Tensor):
            remedy = "return one tensor of log-probabilities [B, T, V]"
            raise OptionError("logp", f"a function that returns {type(result).__name__}", remedy)
        unusual = result.is_floating_point() and result.dtype not in DENSE
        if result.layout != torch.strided or result.is_meta or unusual:
            kind = f"a function that returns {result.dtype} {result.layout} on {result.device}"
            raise OptionError(
                "logp", kind, "return a dense tensor with values, of float16, bfloat16, float32 or float64"
            )
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
        start, size = self.document_start, self.vocab_size  # at least 2, and 3 with a document start
        if keep_documents and start is not None:
            rank = ids_BT - (ids_BT > start).long()
            moved = (rank + 1 + self.integers(size - 2, *ids_BT.shape)) % (size - 1)
            changed = moved + (moved >= start).long()
        else:
            changed = (ids_BT + 1 + self.integers(size - 1, *ids_BT.shape)) % size
        return torch.where(where.expand_as(ids_BT), changed, ids_BT)

    def positions(self, length: int, every: int, sampled: int) -> list[int]:
        """Positions 0 to T - 2: all of them up to a length of `every`, else ends, middle, a sample and ends of chunks.

        Chunks have a sixteenth of the length, and at least 16 positions.
        """
        last = length - 2
        if length <= every:
            return list(range(length - 1))
        drawn = self.integers(length - 1, sampled).tolist()
        chunk = max(16, length // 16)
        return sorted({0, length // 2, last, *range(chunk - 1, last, chunk), *drawn})


CHANGED = "{where}: the log-probability of entry {entry} at position {position} of row {row} changes by {size:.3g} nats"


@dataclass
class Tally:
    """The comparisons of one check.

    broken: how many exceeded their limit. worst: the largest of those, `where` in words. reason: why some or all
    comparisons could not be made. notes: what else a reader should know, such as the tolerance. rounding: the largest
    change that float64 shows to be rounding, in words. unclear: one that could not be decided, in words.
    template: the evidence of a broken check.
    """

    comparisons: int = 0
    broken: int = 0
    worst: Change = field(default_factory=Change)
    where: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    rounding: tuple[float, str] = (0.0, "")
    unclear: str = ""
    template: str = CHANGED
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, change: Change, limit: float, where: str, **data: Any) -> None:
        """Count one comparison. where: what was changed, in words; data: the same as numbers."""
        self.comparisons += 1
        if change.size > limit:
            self.broken += 1
            if self.broken == 1 or change.size > self.worst.size:
                self.worst, self.where, self.data = change, where, data

    def add_decided(self, change: Change, where: str, text: str, *, clear: bool) -> None:
        """Count a comparison whose change is rounding, or (not clear) may be rounding or not. text: why."""
        self.comparisons += 1
        if clear:
            worst = f"changes of up to {change.size:.1e} nats are rounding: {text}"
            self.rounding = max(self.rounding, (change.size, worst))
        elif not self.unclear:
            seen = CHANGED.format(where=where, **asdict(change))
            self.unclear = f"{seen}. Rounding explains as much, or it depends on them: {text}"

    def check(self, rule: str, name: str, limits: str) -> Check:
        """The verdict with its evidence."""
        if self.rounding[1]:
            self.notes.append(self.rounding[1])
        notes = "".join(f"; {note}" for note in dict.fromkeys([*self.notes, self.reason]) if note)
        if self.broken:
            change = self.worst
            seen = self.template.format(where=self.where, **asdict(change))
            evidence = f"{seen}; {self.broken} of {self.comparisons} comparisons{notes}"
            size = change.size if change.size < float("inf") else None
            place = {"row": change.row, "position": change.position, "entry": change.entry, "size": size}
            data = {"comparisons": self.comparisons, "broken": self.broken, **place, **self.data}
            return Check(rule, name, Verdict.FAIL, evidence, limits, data)
        if self.unclear:
            return Check(rule, name, Verdict.NOT_CHECKED, f"{self.unclear}{notes}", limits)
        if not self.comparisons:
            return Check(rule, name, Verdict.NOT_CHECKED, self.reason or "nothing could be compared", limits)
        data = {"comparisons": self.comparisons, "broken": 0}
        return Check(rule, name, Verdict.PASS, f"{self.comparisons} comparisons{notes}", limits, data)
