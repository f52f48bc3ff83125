"""Rule `training` of a run: optimizers, what moved, the learning rate, the average, the clock, and the split."""

import itertools
from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from pgolf import audit
from pgolf.audit import Check, Report, Verdict
from pgolf.audit.training import MOST_ZERO
from pgolf.config.build import (
    build_averaging,
    build_budget,
    build_model,
    build_quantizer,
    build_schedule,
    start_weights,
)
from pgolf.errors import PgolfError
from pgolf.execution.auditing.subject import Subject
from pgolf.execution.trained import shapes_and_types
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.optim.averaging import NoAveraging
from pgolf.optim.roles import frozen_names
from pgolf.quant.encoding import decode
from pgolf.records.kinds import is_number
from pgolf.records.metrics import Event
from pgolf.training.checkpoint import WEIGHTS, load_weights

RULE = "training"
OWNED = "every parameter has an optimizer, or is frozen on purpose"
MOVED = "every trainable parameter moved from its initial weights"
RATES = "the learning rate is not zero for half of the steps"
AVERAGE = "the average has no snapshots at learning rate zero"
CLOCK = "no training ran outside the clock"
SPLIT = "no window of 64 validation tokens is in the training tokens"
MOST_SPLIT_TOKENS = 200_000_000
ROUNDED = ("int", "fp16")  # schemes that round a weight
MOST_STEPS = 1_000_000
SHOWN = 6  # names in one line of evidence
ROUNDING_S = 0.002  # the log has milliseconds
SHARE_OF_STEP = 0.9  # a step's own time has a little more than the clock counts


class Initial:
    """The initial weights of a run, drawn again from its seed, and its frozen parameters."""

    def __init__(self, subject: Subject):
        self.subject = subject
        config = subject.config
        self.on_purpose = frozen_names(build_model(config.model), config.optim.frozen)
        self.by_defect = frozen_names(build_model(config.model), [], config.defects.frozen) - self.on_purpose

    @cached_property
    def model(self) -> GPT:
        model = build_model(self.subject.config.model)
        start_weights(model, self.subject.config.model, self.subject.config.seed, torch.device("cpu"))
        return model

    def tensors(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in named_tensors(self.model).items()}


def training_checks(subject: Subject) -> Report:
    """All checks of this rule."""
    initial = Initial(subject)
    if subject.config.train.parent is not None:
        reason = f"the weights were trained in another run ({subject.record.get('from.folder')}). Audit that run"
        names = (OWNED, MOVED, RATES, AVERAGE, CLOCK)
        return Report(tuple(Check(RULE, name, Verdict.NOT_CHECKED, reason) for name in names)) + split_checks(subject)
    first = (owned_check(subject, initial), moved_check(subject, initial))
    return Report((*first, *schedule_checks(subject), clock_check(subject))) + split_checks(subject)


def listed(names: Iterable[str]) -> str:
    """Names in one line, the first few."""
    known = sorted(names)
    return ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")


def owned_check(subject: Subject, initial: Initial) -> Check:
    """Whether only `optim.frozen` leaves parameters without an optimizer."""
    sizes = {name: p.numel() for name, p in named_tensors(subject.artifact.model).items()}
    frozen = initial.on_purpose | initial.by_defect
    numbers = sum(sizes[name] for name in frozen)
    evidence = f"{sum(sizes.values()) - numbers:,} of {sum(sizes.values()):,} parameters are in an optimizer"
    if initial.on_purpose:
        evidence += f"; frozen by optim.frozen: {listed(initial.on_purpose)}"
    problems = []
    if initial.by_defect:
        count = sum(sizes[name] for name in initial.by_defect)
        problems.append(f"in no optimizer, by defects.frozen: {listed(initial.by_defect)} ({count:,} parameters)")
    if subject.record["params.frozen"] != numbers:
        problems.append(f"the record has {subject.record['params.frozen']:,} frozen parameters, not {numbers:,}")
    limits = "what the configuration gives to the optimizers; the next check shows what moved"
    verdict = Verdict.FAIL if problems else Verdict.PASS
    return Check(
        RULE, OWNED, verdict, "; ".join([*problems, evidence]), limits, {"untrained": sorted(initial.by_defect)}
    )


def moved_check(subject: Subject, initial: Initial) -> Check:
    """Whether the trained weights differ from the initial ones, tensor by tensor."""
    ours, packed = (named_tensors(m) for m in (build_model(subject.config.model), subject.artifact.model))
    if {name: p.shape for name, p in ours.items()} != {name: p.shape for name, p in packed.items()}:
        return Check(RULE, MOVED, Verdict.FAIL, "config.yaml describes another model than the packed file")
    before = initial.tensors()
    try:
        after, source = load_weights(subject.folder, WEIGHTS), WEIGHTS
    except PgolfError:
        after, source = packed_weights(subject), "the packed file"
    if shapes_and_types(after) != shapes_and_types(before):
        return Check(RULE, MOVED, Verdict.FAIL, f"{source} does not have the parameters of the model")
    coarse = source != WEIGHTS
    if coarse:
        before = {name: as_packed(subject, name, tensor) for name, tensor in before.items()}
    before = {name: tensor for name, tensor in before.items() if tensor.numel()}  # one without numbers cannot move
    still = {name for name in before if unmoved(before[name], after[name])}
    unintended = still - initial.on_purpose
    # A rounded value may stay the same although its weight moved: equal codes do not prove that it stayed.
    unsure = {n for n in unintended if coarse and subject.encoded[n].scheme in ROUNDED} - initial.by_defect
    evidence = f"{len(before) - len(still)} of {len(before)} tensors moved, by {source}"
    problems = []
    if found := unintended - unsure:
        problems.append(
            f"at their initial weights: {listed(found)} ({sum(before[n].numel() for n in found):,} parameters)"
        )
    if wrong := initial.on_purpose - still:
        problems.append(f"frozen by optim.frozen, but moved: {listed(wrong)}")
    if unsure:
        evidence += f"; equal after rounding, which does not show whether the weights moved: {listed(unsure)}"
    verdict = Verdict.FAIL if problems else Verdict.NOT_CHECKED if unsure else Verdict.PASS
    limits = (
        "initial weights are drawn again by this code from the seed of config.yaml, which the rule `record` compares "
        "with record and fingerprint; a tensor that moved may still be badly trained"
    )
    return Check(RULE, MOVED, verdict, "; ".join([*problems, evidence]), limits, {"unmoved": sorted(still)})


def unmoved(before: Tensor, after: Tensor) -> bool:
    """Whether a tensor has its initial values, perhaps rounded to bf16 as the master weights of some runs are."""
    return torch.equal(after, before) or torch.equal(after, before.bfloat16().to(before.dtype))


def packed_weights(subject: Subject) -> dict[str, Tensor]:
    names = named_tensors(subject.artifact.model)
    return {name: decode(encoded) for name, encoded in subject.encoded.items() if name in names}


def as_packed(subject: Subject, name: str, tensor: Tensor) -> Tensor:
    """A tensor after packing and unpacking with the quantizer of the run."""
    return decode(build_quantizer(subject.config).encode(name, tensor))


def rates(subject: Subject) -> list[float]:
    """The scale of the learning rates at each step. Under a budget in seconds, each step takes the mean time."""
    schedule = build_schedule(subject.config.optim, build_budget(subject.config.train))
    steps = subject.record["steps"]
    step_s = subject.record["train_s"] / max(steps, 1)
    return [schedule(step, step * step_s) for step in range(steps)]


def logged_steps(subject: Subject) -> list[Event]:
    """The training events of the log that have a step, a time and a scale."""
    keys = ("step", "elapsed_s", "lr_scale", "step_ms")
    return [e for e in subject.events if e["event"] == "train" and all(is_number(e.get(key)) for key in keys)]


def schedule_checks(subject: Subject) -> tuple[Check, Check]:
    """The checks that execute the schedule, step by step."""
    steps = subject.record["steps"]
    if steps > MOST_STEPS:
        reason = f"the record has {steps:,} steps; at most {MOST_STEPS:,} are executed"
        return Check(RULE, RATES, Verdict.NOT_CHECKED, reason), Check(RULE, AVERAGE, Verdict.NOT_CHECKED, reason)
    scales = rates(subject)
    return rates_check(subject, scales), average_check(subject, scales)


def rates_check(subject: Subject, scales: list[float]) -> Check:
    """The share of steps at learning rate zero, and whether the log has the rates of the schedule."""
    zero = sum(scale == 0 for scale in scales)
    evidence = f"{zero:,} of {len(scales):,} steps at learning rate zero ({zero / max(len(scales), 1):.1%})"
    problems = []
    if scales and zero / len(scales) >= MOST_ZERO:
        problems.append("half of the steps or more change nothing")
    if subject.config.train.seconds is None:
        other = [
            event
            for event in logged_steps(subject)
            if 1 <= event["step"] <= len(scales) and abs(event["lr_scale"] - scales[event["step"] - 1]) > 1e-9
        ]
        if other:
            step, scale = other[0]["step"], other[0]["lr_scale"]
            problems.append(f"the log has scale {scale} at step {step}, the schedule {scales[step - 1]}")
        evidence += f"; {len(logged_steps(subject))} logged rates compared"
    limits = "the schedule of the configuration; with a budget in seconds, steps of equal length"
    verdict = Verdict.FAIL if problems else Verdict.PASS
    return Check(RULE, RATES, verdict, "; ".join([*problems, evidence]), limits, {"zero": zero, "steps": len(scales)})


def average_check(subject: Subject, scales: list[float]) -> Check:
    """The weight that the average gives to steps at learning rate zero, by executing it on a marker.

    The marker is 1 after a step at rate zero and 0 after any other, so its average is that weight.
    """
    averaging = build_averaging(subject.config.optim)
    if isinstance(averaging, NoAveraging):
        return Check(RULE, AVERAGE, Verdict.PASS, "no average: the last weights are packed")
    averaging.start({"marker": torch.zeros(())})
    for step, scale in enumerate(scales):
        averaging.update(step + 1, scale, {"marker": torch.tensor(float(scale == 0))})
    average = averaging.average()
    if average is None:
        return Check(RULE, AVERAGE, Verdict.FAIL, "the average took no snapshot: the live weights were packed")
    weight = float(average["marker"])
    name = type(averaging).__name__
    evidence = f"{name}: {weight:.1%} of the average is of steps at learning rate zero"
    snapshots = getattr(averaging, "snapshots", None)
    if snapshots is not None:
        evidence += f", {round(weight * snapshots)} of {snapshots} snapshots"
    limits = "the schedule of the configuration; snapshots that differ little are not seen"
    return Check(RULE, AVERAGE, Verdict.FAIL if weight > 0 else Verdict.PASS, evidence, limits, {"weight": weight})


def clock_check(subject: Subject) -> Check:
    """What ran outside the clock, and whether the logged times leave room for every step."""
    config, record, events = subject.config, subject.record, logged_steps(subject)
    validations = sum(event["event"] == "val" for event in subject.events)
    outside = (
        f"outside the clock: {config.train.priming_steps} priming passes without an update, {validations} validations, "
        f"checkpoints, preparation, evaluation ({record.get('eval_s') or 0:.1f} s once), packing "
        f"({record.get('pack_s') or 0:.1f} s)"
    )
    limits = "the log is the run's own; only its contradictions are seen"
    if len(events) < 2:
        return Check(RULE, CLOCK, Verdict.NOT_CHECKED, f"the log has {len(events)} training events; {outside}", limits)
    problems = clock_problems(subject, events)
    verdict = Verdict.FAIL if problems else Verdict.PASS
    evidence = f"{record['steps']:,} steps in {record['train_s']:.1f} s; {outside}"
    return Check(RULE, CLOCK, verdict, "; ".join([*problems[:SHOWN], evidence]), limits, {"problems": len(problems)})


def clock_problems(subject: Subject, events: list[Event]) -> list[str]:
    """Contradictions between steps and times of the log and the record."""
    record, problems = subject.record, []
    for before, after in itertools.pairwise(events):
        steps, seconds = after["step"] - before["step"], after["elapsed_s"] - before["elapsed_s"]
        if steps < 1 or seconds < SHARE_OF_STEP * after["step_ms"] / 1000 - ROUNDING_S:
            problems.append(
                f"steps {before['step']}..{after['step']} took {seconds:.3f} s of the clock, the last of them alone "
                f"{after['step_ms'] / 1000:.3f} s"
            )
    median_s = (record["step_ms_median"] or 0) / 1000
    if record["train_s"] < SHARE_OF_STEP * record["steps"] * median_s / 2 - ROUNDING_S:  # half take the median or more
        problems.append(
            f"{record['steps']:,} steps took {record['train_s']:.3f} s of the clock, with a median of {median_s:.3f} s"
        )
    last = events[-1]
    if last["step"] != record["steps"]:
        problems.append(f"the log ends at step {last['step']:,}, the record has {record['steps']:,} steps")
    elif abs(last["elapsed_s"] - record["train_s"]) > ROUNDING_S:
        problems.append(f"the log ends at {last['elapsed_s']} s, the record has {record['train_s']} s")
    seconds, slowest_s = subject.config.train.seconds, max(event["step_ms"] for event in events) / 1000
    if seconds is not None and record["train_s"] > seconds + 2 * slowest_s:
        problems.append(f"{record['train_s']:.1f} s of training, the budget is {seconds} s")
    return problems


def split_checks(subject: Subject) -> Report:
    """What the training and the validation tokens of the corpus share."""
    if subject.corpus is None:
        return Report((Check(RULE, SPLIT, Verdict.NOT_CHECKED, subject.no_corpus),))
    arrays, left = [], MOST_SPLIT_TOKENS
    for array in subject.corpus.train:
        arrays.append(array[:left])
        left -= len(arrays[-1])
        if not left:
            break
    report = audit.split(arrays, subject.corpus.val_tokens, document_start=subject.tokenizer().bos_id())
    total = sum(map(len, subject.corpus.train))
    if total <= MOST_SPLIT_TOKENS:
        return report
    note = f"the first {MOST_SPLIT_TOKENS:,} of {total:,} training tokens only"
    return Report(tuple(with_limit(check, note) for check in report))


def with_limit(check: Check, note: str) -> Check:
    return Check(check.rule, check.name, check.verdict, check.evidence, f"{note}; {check.limits}", check.data)
