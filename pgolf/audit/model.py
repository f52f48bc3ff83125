"""The checks of a language model, executed on its log-probabilities."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from pgolf.audit import arguments, distribution, state
from pgolf.audit.arguments import MOST_SEED
from pgolf.audit.causality import EVERY, embedding_modules, gradient_lengths
from pgolf.audit.judge import Judge
from pgolf.audit.look import Findings, Subject, look, look_redrawn, refusals, tolerance_at
from pgolf.audit.probe import Inputs, LogProbabilities, Probe, Refused, Tally
from pgolf.audit.report import Check, Report, Verdict
from pgolf.audit.tolerance import Tolerance
from pgolf.audit.weights import preserved
from pgolf.errors import OptionError, require, suggest

SHORTEST = 2
DEFAULT_LENGTHS, LONGER = (16, 128), 512  # the longer one on a CPU, where a refused length does no harm
WITHOUT_MODEL = "pass the module as `model` to redraw its weights"
ALL_REDRAWN = "all checks above (redrawn weights)"
RANDOM_INPUTS = (
    "random inputs, one of each length ({lengths}); not seen: dependence on tokens farther ahead, for rare tokens, or "
    f"above length {EVERY} at positions that are not sampled"
)
LIMITS = {
    "one": RANDOM_INPUTS,
    "all": RANDOM_INPUTS,
    "gradient": "embedding lookups only, in inputs of length {gradient}; hashes of ids and comparisons of ids have no "
    f"gradient; above length {EVERY} at a few positions",
    "documents": "random inputs of up to three documents, of each length ({lengths}); a start that is not a token of "
    "the input cannot be seen",
    "sums": "the inputs of the other checks only, of each length ({lengths})",
    "target": f"{RANDOM_INPUTS}; a target that reaches the function another way is not seen",
    "rows": "batches of {batches}",
    "redrawn": "initial weights of zero hide paths that training opens",
}


def model(
    logp: LogProbabilities,
    *,
    vocab_size: int,
    document_start: int | None = None,
    model: nn.Module | None = None,
    embed: Sequence[str] | None = None,
    lengths: Sequence[int] | None = None,
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
    position is tested; by default 16, 128 and, on a CPU, 512 if the function accepts it. device: of the ids, by default
    that of the model's first parameter.

    Results that should be equal and differ are computed again in float64, which shows whether that is rounding. The
    function runs in the mode it is in: call `model.eval()` before. Cost: 100 to 200 calls per kind of weights.
    Models below a few million weights are audited faster with `torch.set_num_threads(1)`. Raises OptionError
    for arguments that make no sense, and where logp refuses inputs of the given lengths.
    """
    arguments.function("logp", logp, 1, "pass a function ids[B, T] -> log-probabilities [B, T, V]")
    require(model is None or isinstance(model, nn.Module), "model", type(model).__name__, "pass a torch.nn.Module")
    least, kind = (2, "") if document_start is None else (3, " with a document start")
    size = arguments.whole("vocab_size", vocab_size, least, f"choose the number of token ids, {least} or more{kind}")
    if document_start is not None:
        remedy = f"choose a token id from 0 to {size - 1}, or None"
        document_start = arguments.whole("document_start", document_start, 0, remedy, size - 1)
    redraws = arguments.whole("redraws", redraws, 0, "choose 0 or more")
    seed = arguments.whole("seed", seed, 0, f"choose a whole number from 0 to {MOST_SEED}", MOST_SEED)
    chosen = _embeddings(model, embed)
    first = next(model.parameters(), None) if model is not None else None
    place = arguments.device(device if device is not None else first.device if first is not None else "cpu")
    probe, inputs = Probe(logp, place, model), Inputs(size, document_start, seed)
    with preserved(model):
        sizes = _lengths(lengths, probe, inputs)
        subject = Subject(probe, inputs, sizes, model, chosen, seed)
        try:
            return Report(tuple(_checks(subject, redraws)))
        except Refused as refused:
            remedy = f"logp raised {refused}. Choose lengths and a vocabulary that it accepts"
            raise OptionError("lengths", list(sizes), remedy) from refused.__cause__


def _lengths(lengths: Sequence[int] | None, probe: Probe, inputs: Inputs) -> tuple[int, ...]:
    """The lengths in order. By default the usual ones, and a longer one if it is not refused."""
    if lengths is not None:
        remedy = f"choose one or more numbers of tokens, {SHORTEST} or more: a shorter text has no later token"
        found = [arguments.whole("lengths", n, SHORTEST, remedy) for n in arguments.items("lengths", lengths, remedy)]
        require(len(found) > 0, "lengths", lengths, remedy)
        return tuple(sorted(set(found)))
    if probe.device.type == "cpu":
        try:
            probe(inputs.ids(1, LONGER))
            return (*DEFAULT_LENGTHS, LONGER)
        except Refused:
            pass
    return DEFAULT_LENGTHS


def _embeddings(model: nn.Module | None, embed: Sequence[str] | None) -> dict[str, nn.Module] | None:
    """The modules that embed ids, after their names were checked; None without a model."""
    if embed is not None:
        if model is None:
            raise OptionError("embed", embed, "pass the module that has these parts as `model`")
        known = [name for name, _ in model.named_modules()]
        require(len(arguments.names("embed", embed)) > 0, "embed", embed, "pass a list of names of modules")
        for name in embed:
            require(name in known, "embed", name, f"name a module of `model`.{suggest(name, known)}")
    return embedding_modules(model, embed) if model is not None else None


def _checks(subject: Subject, redraws: int) -> Iterator[Check]:
    """All checks in the order of the report."""
    probe, inputs = subject.probe, subject.inputs
    tried = [*(inputs.ids(1, n) for n in subject.lengths), inputs.ids(state.ROWS, subject.lengths[0])]
    shape = distribution.shape(probe, tried, inputs.vocab_size)
    if shape.verdict == Verdict.FAIL:
        yield shape
        findings = Findings()
        findings.not_executed(f"the results are not log-probabilities: {shape.evidence}")
        yield from _report(findings, "given weights", subject.lengths)
        return
    yield shape
    given, redrawn = Findings(), Findings()
    repeats = look(subject, "given weights", given)
    yield from _report(given, "given weights", subject.lengths)
    if subject.module is None or redraws == 0:
        reason = WITHOUT_MODEL if subject.module is None else "`redraws` is 0"
        yield Check("causality", ALL_REDRAWN, Verdict.NOT_CHECKED, reason, LIMITS["redrawn"])
    else:
        reference = probe(tried[0])
        for draw in range(redraws):
            drift = look_redrawn(subject, draw, tried[0], reference, redrawn)
            repeats = replace(repeats, drift=max(repeats.drift, drift, key=lambda change: change.size))
        yield from _report(redrawn, "redrawn weights", subject.lengths)
    yield from _state(subject, repeats)


def _report(findings: Findings, weights: str, lengths: Sequence[int]) -> Iterator[Check]:
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
    words = {
        "lengths": ", ".join(map(str, lengths)),
        "gradient": " and ".join(map(str, gradient_lengths(lengths))),
        "batches": _shown(state.batches(lengths)),
    }
    for key, (rule, name) in names.items():
        yield getattr(findings, key).check(rule, f"{name} ({weights})", LIMITS[key].format(**words))


def _shown(shapes: Iterable[tuple[int, int]]) -> str:
    """(rows, length) of inputs in words."""
    return " and ".join(f"{rows} row{'s' * (rows > 1)} of length {length}" for rows, length in shapes)


def _state(subject: Subject, repeats: state.Repeats) -> Iterator[Check]:
    """The checks of repeated calls, order, batch size and length."""
    batches, single = state.batches(subject.lengths), [(1, length) for length in subject.lengths]
    tests: tuple[tuple[str, Callable[..., None], list[tuple[int, int]]], ...] = (
        ("the order of rows does not matter", state.order, batches),
        ("a row alone equals that row in a batch", state.batch_of_one, batches),
        ("a prefix alone equals the prefix of a longer input", state.prefixes, single),
    )
    tolerances, others, drifts = {subject.lengths[0]: repeats.tolerance}, [], [repeats.drift]
    for name, test, shapes in tests:
        tally = Tally(reason=repeats.unstable)
        for rows, length in shapes if not repeats.unstable else ():
            with refusals(tally):
                if length not in tolerances:
                    tolerances[length] = tolerance_at(subject, length, repeats.noise)
                tally.notes = [_text(tolerances[length])]
                judge = Judge(subject.probe, repeats.limit, tolerances[length])
                test(judge, subject.inputs, (rows, length), tally)
                drifts.append(judge.drift)
        others.append(tally.check("state", name, f"{_shown(shapes)}; given weights; smaller differences are not seen"))
    yield from _repeated(subject, replace(repeats, drift=max(drifts, key=lambda change: change.size)))
    yield from others


def _repeated(subject: Subject, repeats: state.Repeats) -> Iterator[Check]:
    """The checks of identical calls."""
    mode = ["the module is in training mode"] if subject.module is not None and subject.module.training else []
    for name, change, drift in (
        ("identical calls agree", repeats.straight, repeats.drift),
        ("other data in between change nothing", repeats.between, None),
    ):
        tally = Tally(notes=[_text(repeats.tolerance) if change.size else "equal bits", *mode])
        tally.add(change, repeats.tolerance.nats, "in a second call with one input", length=subject.lengths[0])
        if drift is not None and drift.size:
            tally.add(drift, 0.0, "in a later call with one input", drift=True)
        where = f"one input of length {subject.lengths[0]}"
        limits = f"{where}, one process; what a call leaves on disk or in other processes is not seen"
        yield tally.check("state", name, limits)


def _text(tolerance: Tolerance) -> str:
    return f"tolerance {tolerance.nats:.1e} nats: {tolerance.text}"
