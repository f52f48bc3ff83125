"""Nothing crosses the start of a document."""

import torch

from pgolf.audit.causality import EVERY, SAMPLED
from pgolf.audit.probe import Inputs, Probe, Tally
from pgolf.audit.tolerance import Change, largest_change


def crossings(probe: Probe, inputs: Inputs, length: int, limit: float, label: str, tally: Tally) -> None:
    """Change tokens before a document start and compare the results from the start on, that position included.

    The start lies at each position in turn. Changed are all tokens before it, the one just before it, and one more.
    The number and the places of document starts stay the same.
    """
    start, place = inputs.document_start, torch.arange(length)
    assert start is not None
    for at in (t + 1 for t in inputs.positions(length, EVERY, SAMPLED)):
        ids = inputs.without_start(1, length)
        ids[:, at] = start
        base = probe(ids)
        one = int(inputs.integers(at, 1))
        changes = {f"token {j}": place == j for j in (at - 1, one)}
        if at > 1:
            changes[f"tokens 0 to {at - 1}"] = place < at
        for name, where in changes.items():
            result = probe(inputs.other(ids, where, keep_documents=True))
            change = largest_change(base[:, at:], result[:, at:])
            moved = Change(change.size, change.row, change.position + at, change.entry)
            text = f"{label}, length {length}, document start at {at}: after a change of {name}"
            tally.add(moved, limit, text, length=length, start=at)
