"""Nothing crosses the start of a document."""

import torch
from torch import Tensor

from pgolf.audit.causality import EVERY, SAMPLED
from pgolf.audit.probe import Inputs, Probe, Tally
from pgolf.audit.tolerance import Change, largest_change


def crossings(probe: Probe, inputs: Inputs, length: int, limit: float, label: str, tally: Tally) -> None:
    """Change tokens before a document start and compare the results from the start on, that position included.

    The start lies at each position in turn. Changed are the token just before it, one more, and all tokens before it;
    and all of them where two documents come before. Number and places of the document starts stay the same.
    """
    start, place = inputs.document_start, torch.arange(length)
    assert start is not None

    def compare(ids: Tensor, base: Tensor, at: int, where: Tensor, name: str) -> None:
        result = probe(inputs.other(ids, where & (ids != start), keep_documents=True))
        change = largest_change(base[:, at:], result[:, at:])
        moved = Change(change.size, change.row, change.position + at, change.entry)
        text = f"{label}, length {length}, document start at {at}: after a change of {name}"
        tally.add(moved, limit, text, length=length, start=at)

    for at in (t + 1 for t in inputs.positions(length, EVERY, SAMPLED)):
        ids = inputs.without_start(1, length)
        ids[:, at] = start
        base = probe(ids)
        for j in {at - 1, int(inputs.integers(at, 1))}:
            compare(ids, base, at, place == j, f"token {j}")
        if at > 1:
            compare(ids, base, at, place < at, f"tokens 0 to {at - 1}")
            ids[:, at // 2] = start
            compare(ids, probe(ids), at, place < at, f"the two documents of tokens 0 to {at - 1}")
