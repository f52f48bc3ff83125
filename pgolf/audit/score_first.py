"""Test-time training: no step may see a token before that token is scored."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from pgolf.audit import arguments
from pgolf.audit.report import Check, Report, Verdict
from pgolf.audit.tolerance import NOISE_SAFETY
from pgolf.errors import OptionError, require

RULE = "score first"
Result = TypeVar("Result")
INTEGERS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.uint32, torch.int64)
MOST_IDS = 2**31
CUT_CALLS = 3  # calls of `scored`; the text is cut inside each of them and after it
LIMIT_DECLARED = "positions as the evaluation declares them"
LIMIT_EXECUTED = "one text and a few cuts; tokens that do not come from `recorder.tokens` stay the same"
ORDER = "no step sees a token before it is scored"
ONCE = "no token is scored again after a step saw it"
DECLARED = "every step of the watched optimizers declares its tokens"
EXECUTED = "later tokens change no score"


@dataclass
class Recorder:
    """What an evaluation tells about its order. Positions are indices of tokens in the evaluated text.

    `tokens` hands out the text. `scored` is called when scores are final, `trained` before the optimizer's step.
    `scorer` and `step` wrap functions that do the same. `watch` counts the steps of an optimizer.
    """

    cut: int | None = None  # tokens after it are replaced
    steps: int = 0
    length: int | None = None
    scores: dict[int, float] = field(default_factory=dict)
    early: list[tuple[int, int]] = field(default_factory=list)  # (step, position) trained on before it was scored
    again: list[tuple[int, int]] = field(default_factory=list)  # (step, position) scored after this step saw it
    undeclared: int = 0
    watched: int = 0
    _calls: list[list[int]] = field(default_factory=list)  # positions of the calls of `scored`
    _scored: set[int] = field(default_factory=set)
    _trained: dict[int, int] = field(default_factory=dict)
    _handles: list[Any] = field(default_factory=list)

    def tokens(self, ids_N: Tensor, vocab_size: int) -> Tensor:
        """The text to evaluate, integers [N]. In repeated evaluations, tokens after a cut are replaced.

        Call it once per evaluation, before anything uses the text.
        """
        fits = isinstance(ids_N, Tensor) and ids_N.dim() == 1 and ids_N.dtype in INTEGERS and len(ids_N) > 1
        shown = f"{ids_N.dtype} {list(ids_N.shape)}" if isinstance(ids_N, Tensor) else type(ids_N).__name__
        require(fits, "ids_N", shown, "pass a tensor of integers [N] with two tokens or more")
        most = min(torch.iinfo(ids_N.dtype).max + 1, MOST_IDS)
        remedy = f"choose the number of token ids, 2 or more and at most {most}, which {ids_N.dtype} holds"
        vocab_size = arguments.whole("vocab_size", vocab_size, 2, remedy, most)
        require(self.length in (None, len(ids_N)), "ids_N", shown, "call `tokens` once per evaluation")
        self.length = len(ids_N)
        if self.cut is None:
            return ids_N.clone()
        generator = torch.Generator().manual_seed(self.cut)
        moved = torch.randint(1, vocab_size, (self.length,), generator=generator).to(ids_N.device)
        ids, place = ids_N.long(), torch.arange(self.length, device=ids_N.device)
        return torch.where(place > self.cut, (ids + moved) % vocab_size, ids).to(ids_N.dtype)

    def scored(self, positions: Iterable[int], nats: Any = None) -> None:
        """These tokens have their final scores. nats: the scores in the same order, for the check by execution."""
        found = _positions(positions)
        values = None if nats is None else _numbers(nats)
        if values is not None and len(values) != len(found):
            raise OptionError("nats", f"{len(values)} scores", f"pass one score for each of the {len(found)} positions")
        self._calls.append(found)
        for n, position in enumerate(found):
            if position in self._trained:
                self.again.append((self._trained[position], position))
            self._scored.add(position)
            if values is not None:
                self.scores.setdefault(position, values[n])

    def trained(self, positions: Iterable[int]) -> None:
        """The loss of the step that follows saw these tokens, as inputs or as targets."""
        self.steps += 1
        for position in _positions(positions):
            if position not in self._scored:
                self.early.append((self.steps, position))
            self._trained.setdefault(position, self.steps)

    def scorer(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """A function (positions, ...) that calls `function(...)` and then declares its result as their scores."""

        def score(positions: Iterable[int], *args: Any, **kwargs: Any) -> Result:
            found = _positions(positions)
            result = function(*args, **kwargs)
            self.scored(found, result)
            return result

        return score

    def step(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """A function (positions, ...) that declares what the loss sees and then calls `function(...)`."""

        def train(positions: Iterable[int], *args: Any, **kwargs: Any) -> Result:
            self.trained(positions)
            return function(*args, **kwargs)

        return train

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """Count steps of this optimizer that `trained` did not declare.

        One declaration covers one step of each watched optimizer.
        """
        covered = 0

        def stepped(*_: object) -> None:
            nonlocal covered
            self.undeclared += self.steps == covered
            covered = self.steps

        fits = isinstance(optimizer, torch.optim.Optimizer)
        require(fits, "optimizer", type(optimizer).__name__, "pass a torch.optim.Optimizer")
        self.watched += 1
        self._handles.append(optimizer.register_step_pre_hook(stepped))

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()


def _positions(positions: Iterable[int]) -> list[int]:
    remedy = "pass indices of tokens, such as range(0, 64)"
    if isinstance(positions, Tensor):
        positions = positions.flatten().tolist()
    return [arguments.whole("positions", p, 0, remedy) for p in arguments.items("positions", positions, remedy)]


def _numbers(nats: Any) -> list[float]:
    try:
        return [float(x) for x in torch.as_tensor(nats).detach().flatten().tolist()]
    except (TypeError, ValueError, RuntimeError):
        raise OptionError("nats", nats, "pass one number for each position, as a list or a tensor") from None


def score_first(evaluate: Callable[[Recorder], object]) -> Report:
    """Execute an evaluation with test-time training and check the order of scores and steps.

    evaluate(recorder) evaluates one text and tells the recorder what it does:

        def evaluate(recorder):
            model = fresh_copy()                                   # begin anew: it is called several times
            text = recorder.tokens(validation, vocab_size=1024)    # optional, for the check by execution
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            recorder.watch(optimizer)                              # optional, finds steps that are not declared
            for chunk in chunks(text):
                nats = score(model, chunk)
                recorder.scored(chunk.positions, nats)             # nats: optional, for the check by execution
                recorder.trained(chunk.positions)
                train(model, optimizer, chunk)

    The declared order is checked position by position. If the evaluation takes its text from `recorder.tokens` and
    gives its scores to `recorder.scored`, it is also executed with other tokens after some cuts: scores up to a cut
    must stay the same, whatever was declared. Exceptions of `evaluate` are passed on.
    """
    arguments.function("evaluate", evaluate, 1, "pass a function of one argument, the recorder")
    first = _run(evaluate, None)
    if first.steps == 0 and first.undeclared == 0:
        reason = "no step was seen: call `recorder.trained` before each step, or `recorder.watch` the optimizer"
        order = [Check(RULE, name, Verdict.NOT_CHECKED, reason, LIMIT_DECLARED) for name in (ORDER, ONCE, DECLARED)]
    else:
        order = [_order(first), _once(first), _declared(first)]
    return Report((*order, _executed(evaluate, first)))


def _run(evaluate: Callable[[Recorder], object], cut: int | None) -> Recorder:
    """One evaluation from start to end."""
    recorder = Recorder(cut)
    try:
        evaluate(recorder)
    finally:
        recorder.close()
    return recorder


def _order(seen: Recorder) -> Check:
    """Tokens that are never scored, such as the first one of a text, cannot be seen too early."""
    early = [(step, position) for step, position in seen.early if position in seen._scored]
    if early:
        step, position = early[0]
        evidence = f"step {step} saw token {position} before it was scored; {len(early)} such tokens"
        data = {"step": step, "position": position, "tokens": len(early)}
        return Check(RULE, ORDER, Verdict.FAIL, evidence, LIMIT_DECLARED, data)
    if seen.steps == 0 or not seen._scored:
        missing = "step declared its tokens" if seen.steps == 0 else "token was declared as scored"
        return Check(RULE, ORDER, Verdict.NOT_CHECKED, f"no {missing}", LIMIT_DECLARED)
    unscored = len(seen._trained.keys() - seen._scored)
    evidence = f"{seen.steps} steps, {len(seen._scored)} scored tokens, {unscored} trained on and never scored"
    return Check(RULE, ORDER, Verdict.PASS, evidence, LIMIT_DECLARED)


def _once(seen: Recorder) -> Check:
    if seen.again:
        step, position = seen.again[0]
        evidence = f"token {position} was scored again after step {step} saw it; {len(seen.again)} such scores"
        data = {"step": step, "position": position, "scores": len(seen.again)}
        return Check(RULE, ONCE, Verdict.FAIL, evidence, LIMIT_DECLARED, data)
    if not seen._scored or seen.steps == 0:
        return Check(RULE, ONCE, Verdict.NOT_CHECKED, "no declared scores and steps to compare", LIMIT_DECLARED)
    return Check(RULE, ONCE, Verdict.PASS, f"{len(seen._scored)} scored tokens", LIMIT_DECLARED)


def _declared(seen: Recorder) -> Check:
    limits = "optimizers that are not watched, and other ways to change weights, are not seen"
    if not seen.watched:
        return Check(RULE, DECLARED, Verdict.NOT_CHECKED, "pass the optimizer to `recorder.watch`", limits)
    verdict = Verdict.FAIL if seen.undeclared else Verdict.PASS
    evidence = f"{seen.undeclared} undeclared steps, {seen.steps} declared ones"
    return Check(RULE, DECLARED, verdict, evidence, limits, {"undeclared": seen.undeclared, "declared": seen.steps})


def _executed(evaluate: Callable[[Recorder], object], first: Recorder) -> Check:
    """Evaluate again: unchanged, to learn what repeats, and with other tokens after each of some cuts."""
    if first.length is None or not first.scores:
        reason = "take the text from `recorder.tokens` and give the scores to `recorder.scored`"
        return Check(RULE, EXECUTED, Verdict.NOT_CHECKED, reason, LIMIT_EXECUTED)
    if odd := [position for position, nats in first.scores.items() if not math.isfinite(nats)]:
        return Check(RULE, EXECUTED, Verdict.NOT_CHECKED, f"the score of token {odd[0]} is not finite", LIMIT_EXECUTED)
    noise = _difference(first.scores, _run(evaluate, None).scores, first.length)[0]
    spread = max(first.scores.values()) - min(first.scores.values())
    if noise > 1e-3 * max(spread, 1e-3):
        reason = f"two evaluations of one text differ by {noise:.3g} nats: begin each one anew, without random numbers"
        return Check(RULE, EXECUTED, Verdict.NOT_CHECKED, reason, LIMIT_EXECUTED)
    worst, where, cut_of, later = noise * NOISE_SAFETY, -1, -1, 0.0
    cuts = _cuts(first, first.length)
    for cut in cuts:
        changed = _run(evaluate, cut).scores
        size, position = _difference(first.scores, changed, cut)
        later = max(later, _difference(first.scores, changed, first.length)[0])
        if size > worst:
            worst, where, cut_of = size, position, cut
    exact = "equal bits" if noise == 0 else f"repeated evaluations differ by {noise:.1e} nats"
    if where >= 0:
        evidence = (
            f"other tokens after {cut_of} change the score of token {where} by {worst:.3g} nats; {exact} otherwise"
        )
        size_or_none = worst if worst < float("inf") else None
        data = {"cut": cut_of, "position": where, "size": size_or_none}
        return Check(RULE, EXECUTED, Verdict.FAIL, evidence, LIMIT_EXECUTED, data)
    if not cuts:
        return Check(RULE, EXECUTED, Verdict.NOT_CHECKED, "no tokens follow the scored ones", LIMIT_EXECUTED)
    if later == 0:
        reason = "other tokens change no score at all: the evaluation does not use the text of `recorder.tokens`"
        return Check(RULE, EXECUTED, Verdict.NOT_CHECKED, reason, LIMIT_EXECUTED)
    return Check(
        RULE,
        EXECUTED,
        Verdict.PASS,
        f"cuts after tokens {', '.join(map(str, cuts))} of {first.length}; {exact}",
        LIMIT_EXECUTED,
    )


def _cuts(seen: Recorder, length: int) -> list[int]:
    """Positions in the middle and at the end of the first, the middle and the last call of `scored`.

    Training on the tokens of a call before it shows with a cut inside the call, reading ahead with a cut at its end.
    """
    calls = [sorted(call) for call in seen._calls if call]
    chosen = {n * (len(calls) - 1) // (CUT_CALLS - 1) for n in range(CUT_CALLS)}
    cuts = {call[at] for call in (calls[n] for n in chosen) for at in ((len(call) - 1) // 2, -1)}
    return sorted(cut for cut in cuts if 0 <= cut < length - 1)


def _difference(a: dict[int, float], b: dict[int, float], last: int) -> tuple[float, int]:
    """The largest difference of two scores up to position `last`, in nats, and its position. A missing score is inf."""
    worst, where = 0.0, -1
    for position in sorted(p for p in a.keys() | b.keys() if p <= last):
        x, y = a.get(position, float("nan")), b.get(position, float("nan"))
        size = 0.0 if x == y else abs(x - y)
        size = float("inf") if size != size else size
        if size > worst:
            worst, where = size, position
    return worst, where
