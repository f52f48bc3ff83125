"""Nothing crosses the start of a document."""

import operator

import torch
from torch import Tensor

from pgolf.audit.causality import EVERY, SAMPLED
from pgolf.audit.judge import Called, Judge
from pgolf.audit.probe import Inputs, Tally


def crossings(judge: Judge, inputs: Inputs, length: int, label: str, tally: Tally) -> None:
    """Change tokens before a document start and compare the results from the start on, that position included.

    The start lies at each position in turn. Changed are the token just before it, one more, and all tokens before it;
    and all of them where two documents come before. Number and places of the document starts stay the same.
    """
    start, place = inputs.document_start, torch.arange(length)
    assert start is not None

    def compare(base: Called, at: int, where: Tensor, name: str) -> None:
        result = judge.call(inputs.other(base.ids, where & (base.ids != start), keep_documents=True))
        rest = operator.itemgetter((slice(None), slice(at, None)))
        text = f"{label}, length {length}, document start at {at}: after a change of {name}"
        judge.compare(tally, base, result, (rest, rest), text, at=(0, at), length=length, start=at)

    for at in (t + 1 for t in inputs.positions(length, EVERY, SAMPLED)):
        ids = inputs.without_start(1, length)
        ids[:, at] = start
        base = judge.call(ids)
        for j in {at - 1, int(inputs.integers(at, 1))}:
            compare(base, at, place == j, f"token {j}")
        if at > 1:
            compare(base, at, place < at, f"tokens 0 to {at - 1}")
            two = torch.where(place == at // 2, start, ids)
            compare(judge.call(two), at, place < at, f"the two documents of tokens 0 to {at - 1}")
