"""The checks of a language model, executed on its log-probabilities."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pgolf.audit import distribution, state
from pgolf.audit.causality import Perturbed, embedding_modules, gradients, perturb
from pgolf.audit.documents import crossings
from pgolf.audit.probe import Inputs, LogProbabilities, Probe, Refused, Tally
from pgolf.audit.report import Check, Report, Verdict
from pgolf.audit.tolerance import Tolerance, arithmetic_of, largest_change, shape_tolerance
from pgolf.audit.weights import preserved, redraw
from pgolf.errors import OptionError, require, suggest

SHORTEST = 4
SCALES = (1.0, 0.1)  # of redrawn weights; the second where the first gives values that are not finite
ODD_BATCH = 3  # rows of the input that shows the types of the arithmetic
WITHOUT_MODEL = "pass the module as `model` to redraw its weights"
ALL_REDRAWN = "all checks above (redrawn weights)"
RANDOM_INPUTS = (
    "random inputs, one per length, above length 32 at sampled positions; a leak for rare tokens may be missed"
)
LIMITS = {
    "one": RANDOM_INPUTS,
    "all": RANDOM_INPUTS,
    "gradient": "embedding lookups only; hashes of ids and comparisons of ids have no gradient",
    "documents": "random inputs of up to three documents; a start that is not a token of the input cannot be seen",
    "sums": "the inputs of the other checks only",
    "target": f"{RANDOM_INPUTS}; a target that reaches the function another way is not seen",
    "rows": f"batches of {state.ROWS} rows",
    "redrawn": "initial weights of zero hide paths that training opens",
}


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


def model(
    logp: LogProbabilities,
    *,
    vocab_size: int,
    document_start: int | None = None,
    model: nn.Module | None = None,
    embed: Sequence[str] | None = None,
    lengths: Sequence[int] = (16, 128),
    redraws: int = 2,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Report:
    """Check causality, document starts, the distribution and the absence of state.

    logp: ids int64 [B, T] -> log-probabilities [B, T, V]; those at position t are of token t + 1 given tokens 0 to t.
    vocab_size: V. document_start: the id that begins each document, if the model claims to look at no earlier
    document. model: the module that logp uses; its weights are then redrawn `redraws` times for a second look, because
    initial weights multiply paths by zero. Weights, buffers and the random state of the CPU are restored. embed: names
    of the modules of `model` that embed ids, by default every nn.Embedding. lengths: T of the inputs; up to 32 every
    position is tested. device: of the ids, by default that of the model's first parameter.

    The function runs in the mode it is in: call `model.eval()` before. Cost: 100 to 200 calls per kind of weights.
    Models below a few million weights are audited faster with `torch.set_num_threads(1)`. Raises OptionError
    for arguments that make no sense, and where logp refuses inputs of the given lengths.
    """
    sizes = _checked(logp, vocab_size, document_start, model, embed, lengths, redraws, seed)
    first = next(model.parameters(), None) if model is not None else None
    place = _device(device if device is not None else first.device if first is not None else "cpu")
    subject = Subject(
        Probe(logp, place),
        Inputs(vocab_size, document_start, seed),
        sizes,
        model,
        embedding_modules(model, embed) if model is not None else None,
        seed,
    )
    with preserved(model):
        try:
            return Report(tuple(_checks(subject, redraws)))
        except Refused as refused:
            remedy = f"logp raised {refused}. Choose lengths and a vocabulary that it accepts"
            raise OptionError("lengths", list(lengths), remedy) from refused.__cause__


def _checked(
    logp: object,
    vocab_size: int,
    start: int | None,
    module: object,
    embed: Sequence[str] | None,
    lengths: Sequence[int],
    redraws: int,
    seed: int,
) -> tuple[int, ...]:
    """The lengths in order, after all arguments were checked."""
    require(callable(logp), "logp", logp, "pass a function ids[B, T] -> log-probabilities [B, T, V]")
    require(_whole(vocab_size, 3), "vocab_size", vocab_size, "choose the number of token ids, 3 or more")
    fits = start is None or (_whole(start, 0) and start < vocab_size)
    require(fits, "document_start", start, f"choose a token id from 0 to {vocab_size - 1}, or None")
    require(module is None or isinstance(module, nn.Module), "model", type(module).__name__, "pass a torch.nn.Module")
    listed = isinstance(lengths, Sequence) and not isinstance(lengths, str)
    valid = listed and len(lengths) > 0 and all(_whole(n, SHORTEST) for n in lengths)
    require(valid, "lengths", lengths, f"choose one or more numbers of tokens, {SHORTEST} or more")
    require(_whole(redraws, 0), "redraws", redraws, "choose 0 or more")
    require(_whole(seed, 0), "seed", seed, "choose a whole number, 0 or more")
    if embed is not None:
        require(isinstance(module, nn.Module), "embed", embed, "pass the module that has these parts as `model`")
        known = [name for name, _ in module.named_modules()] if isinstance(module, nn.Module) else []
        require(not isinstance(embed, str) and len(embed) > 0, "embed", embed, "pass a list of names of modules")
        for name in embed:
            require(name in known, "embed", name, f"name a module of `model`.{suggest(name, known)}")
    return tuple(sorted(set(lengths)))


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise OptionError("device", device, "name a device of torch, such as cpu or cuda") from None


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _checks(subject: Subject, redraws: int) -> Iterator[Check]:
    """All checks in the order of the report."""
    probe, inputs = subject.probe, subject.inputs
    tried = [*(inputs.ids(1, n) for n in subject.lengths), inputs.ids(state.ROWS, subject.lengths[0])]
    shape = distribution.shape(probe, tried, inputs.vocab_size)
    if shape.verdict == Verdict.FAIL:
        yield shape
        findings = Findings()
        findings.not_executed(f"the results are not log-probabilities: {shape.evidence}")
        yield from _report(findings, "given weights")
        return
    yield shape
    given, redrawn = Findings(), Findings()
    repeats = _look(subject, "given weights", given)
    yield from _report(given, "given weights")
    if subject.module is None or redraws == 0:
        reason = WITHOUT_MODEL if subject.module is None else "`redraws` is 0"
        yield Check("causality", ALL_REDRAWN, Verdict.NOT_CHECKED, reason, LIMITS["redrawn"])
    else:
        reference = probe(tried[0])
        for draw in range(redraws):
            _redrawn(subject, draw, tried[0], reference, redrawn)
        yield from _report(redrawn, "redrawn weights")
    yield from _state(subject, repeats)


def _tolerance(subject: Subject, length: int, noise: float) -> Tolerance:
    """For other batch sizes and lengths, with the weights as they are. noise: nats by which identical calls differ."""
    odd = subject.inputs.ids(ODD_BATCH, length)
    try:
        dtype = arithmetic_of(subject.probe, odd)
    except Refused:
        dtype = arithmetic_of(subject.probe, odd[:1])
    ids = subject.inputs.ids(1, length)
    module = subject.module if noise == 0 else None
    return shape_tolerance(subject.probe, ids, dtype, module, subject.seed)


def _look(subject: Subject, label: str, findings: Findings) -> state.Repeats:
    """All checks of inputs with the weights as they are."""
    probe, inputs, lengths = subject.probe, subject.inputs, subject.lengths
    repeats = state.repeats(probe, inputs, lengths[0])
    repeats = replace(repeats, tolerance=_tolerance(subject, lengths[0], repeats.noise))
    for length in lengths:
        distribution.sums(probe, inputs.ids(1, length), label, findings.sums)
    with _refusals(findings.rows):
        distribution.sums(probe, inputs.ids(state.ROWS, lengths[0]), label, findings.sums)
    exact = (findings.one, findings.all, findings.target, findings.documents, findings.rows)
    ids = inputs.ids(1, lengths[0])
    moves = largest_change(probe(ids), probe(inputs.other(ids, torch.ones(1, lengths[0], dtype=torch.bool)))).size > 0
    reason = repeats.unstable or ("" if moves else "no token changes any log-probability")
    if reason:
        for tally in exact:
            tally.reason = f"{label}: {reason}"
    else:
        for length in lengths:
            perturb(probe, inputs, length, repeats.limit, label, Perturbed(*exact[:3]))
            if inputs.document_start is not None:
                crossings(probe, inputs, length, repeats.limit, label, findings.documents)
        with _refusals(findings.rows):
            state.other_rows(probe, inputs, lengths[0], repeats.limit, label, findings.rows)
        for tally in exact:
            tally.notes.append(repeats.note)
    if inputs.document_start is None:
        findings.documents.reason = "name the token that begins a document as `document_start`"
    if subject.embeddings is None:
        findings.gradient.reason = "pass the module as `model` to see its embedding lookups"
    else:
        gradients(probe, inputs, lengths[0], subject.embeddings, label, findings.gradient)
    return repeats


def _redrawn(subject: Subject, draw: int, ids_BT: Tensor, given_BTV: Tensor, findings: Findings) -> None:
    """Look again with weights that are drawn anew. given_BTV: the result for ids_BT with the given weights."""
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
                    _look(subject, label, findings)
                    return
            except Refused as refused:
                reason = f"the function refuses the weights: {refused}"
        for tally in vars(findings).values():
            tally.reason = tally.reason or f"{label}: {reason}"


def _report(findings: Findings, weights: str) -> Iterator[Check]:
    """The checks of one kind of weights."""
    names = {
        "one": ("causality", "one later token changes nothing"),
        "all": ("causality", "all later tokens change nothing"),
        "gradient": ("causality", "no gradient from later embeddings"),
        "documents": ("documents", "nothing crosses a document start"),
        "sums": ("distribution", "probabilities sum to one"),
        "target": ("distribution", "the target alone changes nothing"),
        "rows": ("state", "other rows of the batch change nothing"),
    }
    for key, (rule, name) in names.items():
        yield getattr(findings, key).check(rule, f"{name} ({weights})", LIMITS[key])


@contextmanager
def _refusals(tally: Tally) -> Iterator[None]:
    """An input that the function refuses makes a check impossible, not failed."""
    try:
        yield
    except Refused as refused:
        tally.reason = f"the function refuses the input: {refused}"


def _state(subject: Subject, repeats: state.Repeats) -> Iterator[Check]:
    """The checks of repeated calls, order, batch size and length."""
    mode = ["the module is in training mode"] if subject.module is not None and subject.module.training else []
    for name, change in (
        ("identical calls agree", repeats.straight),
        ("other data in between change nothing", repeats.between),
    ):
        tally = Tally(notes=[_text(repeats.tolerance), *mode])
        if change.size == 0:
            tally.notes = ["equal bits", *mode]
        tally.add(change, repeats.tolerance.nats, "in a second call with one input", length=subject.lengths[0])
        yield tally.check("state", name, "one process; what a call leaves on disk or in other processes is not seen")
    tests: tuple[tuple[str, Callable[..., None], tuple[int, ...]], ...] = (
        ("the order of rows does not matter", state.order, subject.lengths[:1]),
        ("a row alone equals that row in a batch", state.batch_of_one, subject.lengths[:1]),
        ("a prefix alone equals the prefix of a longer input", state.prefixes, subject.lengths),
    )
    for name, test, lengths in tests:
        tally = Tally(reason=repeats.unstable)
        for length in lengths if not repeats.unstable else ():
            with _refusals(tally):
                tolerance = repeats.tolerance if length == lengths[0] else _tolerance(subject, length, repeats.noise)
                tally.notes = [_text(tolerance)]
                test(subject.probe, subject.inputs, length, tolerance, tally)
        yield tally.check("state", name, "given weights; differences below the tolerance are not seen")


def _text(tolerance: Tolerance) -> str:
    return f"tolerance {tolerance.nats:.1e} nats: {tolerance.text}"
