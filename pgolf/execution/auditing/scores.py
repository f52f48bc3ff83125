"""Rule `score` of a run: the packed file alone, fake quantization, the plan of windows, and the table of bytes."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pgolf import audit
from pgolf.audit import Check, Report, Verdict
from pgolf.config.build import build_eval
from pgolf.data.tokenizer import decode_documents
from pgolf.eval.documents import mode_on
from pgolf.execution.auditing.subject import Subject
from pgolf.machine.plain import parse_json
from pgolf.slots import Window

RULE = "score"
ALONE = "the packed file alone gives the recorded score"
FAKE_OFF = "fake quantization is off at evaluation"
ESTIMATE = "the score is not an estimate on a part of the text"
PLAN = "every target is scored once"
BYTES = "the byte table gives the UTF-8 bytes of each text"
TIMEOUT_S = 3600
SAMPLE_TOKENS = 40_000  # of validation text, for the byte table
HARD_TEXTS = ("naïve café — “quotes”, 日本語, 😀!", "a  b\tc\n\nd", "x=1;y=22;z=333", "Ünïcödé ĳ ﬁ ½")

Scores = Mapping[str, Any]


def fresh_scores(subject: Subject) -> Scores | str:
    """The scores that a process of its own computes from the packed file, or the reason why there are none."""
    if subject.corpus is None:
        return subject.no_corpus
    threads = str(subject.config.train.cpu_threads)
    words = [sys.executable, "-m", "pgolf.execution.auditing.rescore", str(subject.folder)]
    words += ["--open-corpus"] * subject.opens_files
    try:
        done = subprocess.run(
            words, capture_output=True, timeout=TIMEOUT_S, check=False, env={**os.environ, "OMP_NUM_THREADS": threads}
        )
    except subprocess.TimeoutExpired:
        return f"the process that scores the file took longer than {TIMEOUT_S} s"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode:
        return f"the process that scores the file ended with {done.returncode}: {lines[-1] if lines else 'no message'}"
    scores: Scores = parse_json(done.stdout)
    return scores


def tolerance(subject: Subject) -> float:
    """The relative difference of two scores of equal weights that arithmetic alone can make.

    Each target's nats have an error of about eps sqrt(T) for T tokens of context. In fp32 it may have one sign, since
    another number of threads sums in another order. In bf16 the larger errors of N targets average out.
    """
    length, targets = subject.config.model.seq_len, max(subject.record["val_targets"], 1)
    bound = torch.finfo(torch.float32).eps * math.sqrt(length)
    if subject.config.train.precision == "bf16":
        bound += torch.finfo(torch.bfloat16).eps * math.sqrt(length / targets)
    return bound


def score_checks(subject: Subject) -> Report:
    """All checks of this rule."""
    scores = fresh_scores(subject)
    first = (
        (Check(RULE, ALONE, Verdict.NOT_CHECKED, scores), Check(RULE, FAKE_OFF, Verdict.NOT_CHECKED, scores))
        if isinstance(scores, str)
        else (alone_check(subject, scores), fake_check(subject, scores))
    )
    return Report(first) + plan_checks(subject) + Report((estimate_check(subject),)) + bytes_checks(subject)


def executed_fake(subject: Subject) -> bool:
    """Whether the run itself scored its packed file with fake quantization, by its configuration and record."""
    return subject.config.defects.qat_at_eval and subject.record.get("qat_from_step") is not None


def agree(subject: Subject, score: float | None, recorded: float | None) -> bool:
    """Whether two scores are equal up to `tolerance`. None is a score that is not finite."""
    if score is None or recorded is None:
        return score is recorded
    return abs(score - recorded) <= tolerance(subject) * abs(recorded)


def number(score: float | None) -> str:
    return "not finite" if score is None else f"{score:.6f}"


def alone_check(subject: Subject, scores: Scores) -> Check:
    """Whether a fresh process gets the recorded score from the packed file, evaluated as the run says that it did."""
    record, name = subject.record, "on" if executed_fake(subject) else "off"
    score = scores[name]
    fields = ("val_bpb", "val_targets", "val_bytes", "val_bpb_published_908")
    wrong = []
    for key in fields:
        if key not in score and record.get(key) is None:
            continue
        same = (
            agree(subject, score.get(key), record.get(key))
            if key.startswith("val_bpb")
            else score.get(key) == record.get(key)
        )
        wrong += [] if same else [f"{key}: {score.get(key)} from the file, {record.get(key)} in the record"]
    bpb = score["val_bpb"]
    evidence = "; ".join(wrong) or (f"{number(bpb)} bits per byte from the file, {number(record['val_bpb'])} recorded")
    if None not in (bpb, record["val_bpb"]):
        evidence += f", difference {bpb - record['val_bpb']:+.1e}"
    evidence += (
        f"; relative tolerance {tolerance(subject):.1e} ({subject.config.train.precision}, "
        f"{subject.config.model.seq_len} tokens), {scores['device']}, {scores['threads']} threads"
    )
    verdict = Verdict.FAIL if wrong else Verdict.PASS
    data = {"from_file": bpb, "recorded": record["val_bpb"]}
    limits = "this machine's code and corpus; a file that was trained on the validation text scores as well"
    return Check(RULE, ALONE, verdict, evidence, limits, data)


def fake_check(subject: Subject, scores: Scores) -> Check:
    """Whether the recorded score is that of the weights in the file, without fake quantization."""
    recorded, off, on = subject.record["val_bpb"], scores["off"]["val_bpb"], scores["on"]
    limits = "the fake quantization of the configuration only"
    evidence = f"{number(recorded)} recorded, {number(off)} with fake quantization off"
    if on is not None:
        evidence += f", {number(on['val_bpb'])} with it on"
    is_off, is_on = agree(subject, off, recorded), on is not None and agree(subject, on["val_bpb"], recorded)
    if executed_fake(subject) or (is_on and not is_off):
        switch = "defects.qat_at_eval" if subject.config.defects.qat_at_eval else "the score itself"
        return Check(RULE, FAKE_OFF, Verdict.FAIL, f"on, by {switch}: {evidence}", limits)
    verdict = Verdict.PASS if is_off else Verdict.NOT_CHECKED
    return Check(RULE, FAKE_OFF, verdict, evidence + ("" if is_off else ": the record has neither"), limits)


def plan_checks(subject: Subject) -> Report:
    """The windows of the run's evaluation, over the targets that its options leave."""
    if subject.corpus is None:
        return Report((Check(RULE, PLAN, Verdict.NOT_CHECKED, subject.no_corpus),))
    mode, targets = mode_on(build_eval(subject.config), subject.corpus), len(subject.corpus.val_tokens) - 1
    scope, left_out = scope_of(mode, targets)
    plan = mode.windows(targets)
    found = audit.windows([(w.scored, w.stop) for w in plan], max(scope, 1))
    note = f"{mode.name}, {scope:,} of {targets:,} targets of the text" + (
        f"; left out by {left_out}" if left_out else ""
    )
    checks = [Check(c.rule, c.name, c.verdict, f"{note}: {c.evidence}", c.limits, c.data) for c in found]
    recorded = subject.record["val_targets"], subject.record["eval_mode"]
    same = recorded == (sum(w.stop - w.scored for w in plan), mode.name)
    evidence = f"the record has {recorded[0]:,} targets in {recorded[1]}"
    name = "the record has the targets and the mode of the plan"
    return Report((*checks, Check(RULE, name, Verdict.PASS if same else Verdict.FAIL, evidence)))


def scope_of(mode: Any, targets: int) -> tuple[int, str]:
    """The number of targets that a mode claims to score, and the options that leave out the others."""
    scope, options = targets, []
    most, length = getattr(mode, "max_targets", None), getattr(mode, "seq_len", 1)
    if most is not None and most < scope:
        scope = most
        options.append(f"eval.max_targets={most}")
    if getattr(mode, "drop_tail", False) and scope % length:
        scope -= scope % length
        options.append("eval.drop_tail=true")
    return scope, ", ".join(options)


def estimate_check(subject: Subject) -> Check:
    """Whether the run's score is an estimate by window means, as that of one published run was.

    A run with the faults of a published run repeats what that run claimed, which is the estimate.
    """
    mode = build_eval(subject.config)
    plan = getattr(mode, "estimate_windows", None)
    limits = "a run with faults (defects=...) claims what the published run claimed; other runs claim val_bpb"
    if plan is None:
        return Check(RULE, ESTIMATE, Verdict.PASS, f"{mode.name} has no estimate", limits)
    name = f"val_bpb_{getattr(mode, 'estimate_name', 'estimate')}"
    value = subject.record.get(name)
    evidence = f"{name} is {value}, val_bpb is {subject.record['val_bpb']}"
    if subject.corpus is not None:
        targets = len(subject.corpus.val_tokens) - 1
        windows: list[Window] = plan(targets)
        covered = np.zeros(targets, dtype=bool)
        for window in windows:
            covered[window.scored : window.stop] = True
        evidence += f"; window means for {int(covered.sum()):,} of {targets:,} targets, {covered.mean():.1%}"
    if has_defects(subject):
        return Check(RULE, ESTIMATE, Verdict.FAIL, f"the published score was this estimate: {evidence}", limits)
    return Check(
        RULE, ESTIMATE, Verdict.PASS, f"val_bpb is the score, and the estimate stands beside it: {evidence}", limits
    )


def has_defects(subject: Subject) -> bool:
    """Whether the run repeats a fault of a published run."""
    return any(bool(value) for value in vars(subject.config.defects).values())


def bytes_checks(subject: Subject) -> Report:
    """The byte table of the corpus, on validation text and on texts with characters of several bytes."""
    if subject.corpus is None:
        return Report((Check(RULE, BYTES, Verdict.NOT_CHECKED, subject.no_corpus),))
    tokenizer, table = subject.tokenizer(), subject.corpus.byte_table
    sample = decode_documents(tokenizer, subject.corpus.val_tokens[:SAMPLE_TOKENS])
    hard = [text for text in HARD_TEXTS if tokenizer.unk_id() not in tokenizer.encode(text)]
    texts = [*(text.decode(errors="replace") for text in sample), *hard]
    return audit.byte_table(lambda ids, previous: table.pair_bytes(previous, ids), tokenizer, texts)
