"""Test-time training: no step may see a token before that token is scored."""

from collections.abc import Callable

from pgolf.audit import arguments, replay
from pgolf.audit.recorder import Recorder
from pgolf.audit.replay import RULE
from pgolf.audit.report import Check, Report, Verdict

LIMIT_DECLARED = "positions as the evaluation declares them"
ORDER = "no step sees a token before it is scored"
ONCE = "no token is scored again after a step saw it"
DECLARED = "every step of the watched optimizers declares its tokens"


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
    must stay the same, whatever was declared. That takes about 20 evaluations. Scores that differ by so little that it
    may be rounding are computed again in float64. Exceptions of `evaluate` are passed on.
    """
    arguments.function("evaluate", evaluate, 1, "pass a function of one argument, the recorder")
    first = replay.execute(evaluate, None)
    if first.steps == 0 and first.undeclared == 0:
        reason = "no step was seen: call `recorder.trained` before each step, or `recorder.watch` the optimizer"
        order = [Check(RULE, name, Verdict.NOT_CHECKED, reason, LIMIT_DECLARED) for name in (ORDER, ONCE, DECLARED)]
    else:
        order = [_order(first), _once(first), _declared(first)]
    return Report((*order, replay.check(evaluate, first)))


def _order(seen: Recorder) -> Check:
    """Tokens that are never scored, such as the first one of a text, cannot be seen too early."""
    early = [(step, position) for step, position in seen.early if position in seen.done]
    if early:
        step, position = early[0]
        evidence = f"step {step} saw token {position} before it was scored; {len(early)} such tokens"
        data = {"step": step, "position": position, "tokens": len(early)}
        return Check(RULE, ORDER, Verdict.FAIL, evidence, LIMIT_DECLARED, data)
    if seen.steps == 0 or not seen.done:
        missing = "step declared its tokens" if seen.steps == 0 else "token was declared as scored"
        return Check(RULE, ORDER, Verdict.NOT_CHECKED, f"no {missing}", LIMIT_DECLARED)
    unscored = len(seen.first_steps.keys() - seen.done)
    evidence = f"{seen.steps} steps, {len(seen.done)} scored tokens, {unscored} trained on and never scored"
    return Check(RULE, ORDER, Verdict.PASS, evidence, LIMIT_DECLARED)


def _once(seen: Recorder) -> Check:
    if seen.again:
        step, position = seen.again[0]
        evidence = f"token {position} was scored again after step {step} saw it; {len(seen.again)} such scores"
        data = {"step": step, "position": position, "scores": len(seen.again)}
        return Check(RULE, ONCE, Verdict.FAIL, evidence, LIMIT_DECLARED, data)
    if not seen.done or seen.steps == 0:
        return Check(RULE, ONCE, Verdict.NOT_CHECKED, "no declared scores and steps to compare", LIMIT_DECLARED)
    return Check(RULE, ONCE, Verdict.PASS, f"{len(seen.done)} scored tokens", LIMIT_DECLARED)


def _declared(seen: Recorder) -> Check:
    limits = "optimizers that are not watched, and other ways to change weights, are not seen"
    if not seen.watched:
        return Check(RULE, DECLARED, Verdict.NOT_CHECKED, "pass the optimizer to `recorder.watch`", limits)
    verdict = Verdict.FAIL if seen.undeclared else Verdict.PASS
    evidence = f"{seen.undeclared} undeclared steps, {seen.steps} declared ones"
    return Check(RULE, DECLARED, verdict, evidence, limits, {"undeclared": seen.undeclared, "declared": seen.steps})
