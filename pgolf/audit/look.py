"""One look at a model: all checks of its inputs and results, with the weights as they are or drawn anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pgolf.audit import distribution, state
from pgolf.audit.causality import Perturbed, gradient_lengths, gradients, perturb
from pgolf.audit.documents import crossings
from pgolf.audit.judge import Judge
from pgolf.audit.probe import Inputs, Probe, Refused, Tally
from pgolf.audit.tolerance import Change, Tolerance, arithmetic_of, largest_change, shape_tolerance
from pgolf.audit.weights import preserved, redraw

SCALES = (1.0, 0.1)  # of redrawn weights; the second where the first gives values that are not finite
ODD_BATCH = 3  # rows of the input that shows the types of the arithmetic


@dataclass
class Findings:
    """The tallies of one kind of weights, given or redrawn."""

    one: Tally = field(default_factory=Tally)
    all: Tally = field(default_factory=Tally)
    gradient: Tally = field(default_factory=Tally)
    documents: Tally = field(default_factory=Tally)
    sums: Tally = field(default_factory=Tally)
    target: Tally = field(default_factory=Tally)
    rows: Tally = field(default_factory=Tally)

    def not_executed(self, reason: str) -> None:
        """Give the reason to every tally."""
        for tally in vars(self).values():
            tally.reason = reason


@dataclass(frozen=True)
class Subject:
    """What is audited: the function, its inputs, and the module whose weights it uses, if that is known."""

    probe: Probe
    inputs: Inputs
    lengths: tuple[int, ...]
    module: nn.Module | None
    embeddings: dict[str, nn.Module] | None
    seed: int


def tolerance_at(subject: Subject, length: int, noise: float) -> Tolerance:
    """What rounding explains, with the weights as they are. noise: nats by which identical calls differ."""
    odd = subject.inputs.ids(ODD_BATCH, length)
    try:
        dtype = arithmetic_of(subject.probe, odd)
    except Refused:
        dtype = arithmetic_of(subject.probe, odd[:1])
    ids = subject.inputs.ids(1, length)
    module = subject.module if noise == 0 else None
    return shape_tolerance(subject.probe, ids, dtype, module, subject.seed)


def look(subject: Subject, label: str, findings: Findings) -> state.Repeats:
    """All checks of inputs with the weights as they are."""
    probe, inputs, lengths = subject.probe, subject.inputs, subject.lengths
    repeats = state.repeats(probe, inputs, lengths[0])
    repeats = replace(repeats, tolerance=tolerance_at(subject, lengths[0], repeats.noise))
    for length in lengths:
        distribution.sums(probe, inputs.ids(1, length), label, findings.sums)
    with refusals(findings.rows):
        distribution.sums(probe, inputs.ids(state.ROWS, lengths[0]), label, findings.sums)
    judge = Judge(probe, repeats.limit, repeats.tolerance)
    exact = (findings.one, findings.all, findings.target, findings.documents, findings.rows)
    ids = inputs.ids(1, lengths[0])
    moves = largest_change(probe(ids), probe(inputs.other(ids, torch.ones(1, lengths[0], dtype=torch.bool)))).size > 0
    reason = repeats.unstable or ("" if moves else "no token changes any log-probability")
    if reason:
        for tally in exact:
            tally.reason = f"{label}: {reason}"
    else:
        for length in lengths:
            perturb(judge, inputs, length, label, Perturbed(*exact[:3]))
            if inputs.document_start is not None:
                crossings(judge, inputs, length, label, findings.documents)
        for shape in state.batches(lengths):
            with refusals(findings.rows):
                state.other_rows(judge, inputs, shape, label, findings.rows)
        for tally in exact:
            tally.notes.append(repeats.note)
        if judge.drift.size:
            repeats = replace(repeats, drift=judge.drift)
    if inputs.document_start is None:
        findings.documents.reason = "name the token that begins a document as `document_start`"
    if subject.embeddings is None:
        findings.gradient.reason = "pass the module as `model` to see its embedding lookups"
    else:
        for length in gradient_lengths(lengths):
            gradients(judge, inputs, length, subject.embeddings, label, findings.gradient)
    return repeats


def look_redrawn(subject: Subject, draw: int, ids_BT: Tensor, given_BTV: Tensor, findings: Findings) -> Change:
    """Look again with weights that are drawn anew; returns the drift of identical calls.

    given_BTV: the result for ids_BT with the given weights.
    """
    module, label, reason = subject.module, f"redraw {draw + 1}", "no finite log-probabilities"
    assert module is not None
    with preserved(module):
        for scale in SCALES:
            redraw(module, scale, subject.seed + draw)
            try:
                result = subject.probe(ids_BT)
                if torch.equal(result, given_BTV):
                    reason = "other weights of `model` change nothing: logp does not use them"
                elif not distribution.fault_of_shape(result, ids_BT, subject.inputs.vocab_size):
                    return look(subject, label, findings).drift
            except Refused as refused:
                reason = f"the function refuses the weights: {refused}"
        for tally in vars(findings).values():
            tally.reason = tally.reason or f"{label}: {reason}"
    return Change()


@contextmanager
def refusals(tally: Tally) -> Iterator[None]:
    """An input that the function refuses makes a check impossible, not failed."""
    try:
        yield
    except Refused as refused:
        tally.reason = f"the function refuses the input: {refused}"
