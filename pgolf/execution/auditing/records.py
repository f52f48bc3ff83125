"""Rule `record` of a run: one score in all files, one model in weights and packed file, and the size under the cap."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from pgolf.audit import Check, Report, Verdict
from pgolf.config.added import reduced
from pgolf.config.build import build_model, build_quantizer
from pgolf.errors import PgolfError
from pgolf.execution.artifact import CAP_BYTES, encode_state
from pgolf.execution.auditing.claims import RULE, one_configuration_check
from pgolf.execution.auditing.subject import Subject
from pgolf.execution.finish import load_average
from pgolf.execution.record import decimal
from pgolf.execution.trained import shapes_and_types, weights_sha
from pgolf.machine.files import read_regular
from pgolf.nn.naming import named_tensors
from pgolf.nn.primitives import initialise
from pgolf.records.documents import read_documents
from pgolf.slots import Encoded
from pgolf.training.checkpoint import AVERAGED, WEIGHTS, load_weights
from pgolf.training.runlog import LOG

ONE_NUMBER = "record and logs have one score"
SAME_WEIGHTS = "the packed file holds the trained weights"
SAME_MODEL = "the packed file describes the model of the run"
CAP = "packed model and code are under the cap"
SCORES = ("val_bpb", "val_bpb_live", "val_bpb_averaged")
SUMMARY = re.compile(r"^val bpb +(not finite|\S+) from the packed file, (not finite|\S+) live", re.MULTILINE)
SHOWN = 3


def record_checks(subject: Subject) -> Report:
    """All checks of this rule."""
    first = (one_number_check(subject), one_configuration_check(subject))
    return Report((*first, same_weights_check(subject), same_model_check(subject), cap_check(subject)))


def one_number_check(subject: Subject) -> Check:
    """Whether result.json, each event `final` of metrics.jsonl and each summary in train.log have the same scores, and
    documents.bin, if the record names it, adds up to them.

    A run that is resumed cuts both logs back to its checkpoint, and one that is repeated begins another folder. So all
    of them belong to this record.
    """
    record: Mapping[str, Any] = subject.record
    problems: list[str] = []
    finals = [event for event in subject.events if event["event"] == "final"]
    shown = logged_scores(subject)
    sources = ["result.json", *["metrics.jsonl"] * bool(finals), *[LOG] * bool(shown)]
    problems += [
        f"{key}: {final.get(key)} in metrics.jsonl, {record.get(key)} in result.json"
        for final in finals
        for key in SCORES
        if not same_number(final.get(key), record.get(key))
    ]
    problems += [
        f"{key}: {text} in {LOG}, {record.get(key)} in result.json"
        for scores in shown
        for key, text in zip(SCORES, scores, strict=False)
        if text != decimal(record.get(key))
    ]
    problems += documents_problems(subject)
    limits = "files of this folder only; what a README or a paper says is not seen"
    evidence = f"val_bpb {record['val_bpb']} in {', '.join(sources)}"
    if problems:
        return Check(RULE, ONE_NUMBER, Verdict.FAIL, "; ".join(problems[:SHOWN]), limits)
    if subject.log_problems or len(sources) < 3:
        reason = subject.log_problems[0] if subject.log_problems else "another file has no final score"
        return Check(RULE, ONE_NUMBER, Verdict.NOT_CHECKED, f"{evidence}; {reason}", limits)
    return Check(RULE, ONE_NUMBER, Verdict.PASS, evidence, limits)


def documents_problems(subject: Subject) -> list[str]:
    """Why the file of documents is not that of the record; empty if it is, or if the record names none."""
    try:
        read_documents(subject.folder, subject.record)
    except PgolfError as error:
        return [" ".join(str(error).split())]
    return []


def same_number(a: Any, b: Any) -> bool:
    """Equal, or both missing. A number that is not finite is null in a record."""
    finite = [None if isinstance(x, float) and not math.isfinite(x) else x for x in (a, b)]
    return finite[0] == finite[1]


def logged_scores(subject: Subject) -> list[tuple[str, str]]:
    """The packed and the live score of each summary in train.log, as text."""
    try:
        text = read_regular(subject.folder / LOG).decode("utf-8", errors="replace")
    except (OSError, ValueError):
        return []
    return SUMMARY.findall(text)


def same_weights_check(subject: Subject) -> Check:
    """Whether packing the kept weights again gives the tensors of the packed file, bit for bit."""
    limits = "the weights that the run kept; where it kept none, only the score is compared"
    if subject.config.train.parent is not None:
        return Check(RULE, SAME_WEIGHTS, Verdict.NOT_CHECKED, "the weights are those of another run", limits)
    try:
        live = load_weights(subject.folder, WEIGHTS)
        average = load_weights(subject.folder, AVERAGED) if (subject.folder / AVERAGED).exists() else {}
        sha = weights_sha(subject.folder)
    except PgolfError as error:
        return Check(RULE, SAME_WEIGHTS, Verdict.NOT_CHECKED, " ".join(str(error).split()), limits)
    model = build_model(subject.config.model)
    whole, partly = shapes_and_types(live), shapes_and_types(average)
    if whole != shapes_and_types(named_tensors(model)) or not partly.items() <= whole.items():
        return Check(RULE, SAME_WEIGHTS, Verdict.FAIL, f"{WEIGHTS} is not of the model of the run", limits)
    initialise(model, 0, torch.device("cpu"))  # of the size of the file, not of whatever config.yaml says
    load_average(model, {**live, **average})
    try:
        other = differing(encode_state(model, build_quantizer(subject.config)), subject.encoded)
    except PgolfError as error:
        return Check(RULE, SAME_WEIGHTS, Verdict.FAIL, " ".join(str(error).split()), limits)
    problems = [f"{name}: {what}" for name, what in other.items()]
    recorded = subject.record.get("weights_sha")
    if recorded not in (None, sha):
        problems.append(f"weights_sha: {recorded[:12]} in the record, {sha[:12]} of the files")
    names = f"{WEIGHTS} with {AVERAGED}" if average else WEIGHTS
    evidence = "; ".join(problems[:SHOWN]) or f"{len(subject.encoded)} tensors equal to {names}, packed again"
    more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return Check(RULE, SAME_WEIGHTS, Verdict.FAIL if problems else Verdict.PASS, evidence + more, limits)


def differing(ours: Mapping[str, Encoded], packed: Mapping[str, Encoded]) -> dict[str, str]:
    """The tensors whose packed arrays differ, each with how many values do."""
    found = {}
    for name in sorted({*ours, *packed}):
        a, b = ours.get(name), packed.get(name)
        if a is None or b is None or layout(a) != layout(b):
            found[name] = "is packed in another way"
        elif count := sum(int(np.sum(a.arrays[key] != b.arrays[key])) for key in a.arrays):
            found[name] = f"{count:,} of {sum(array.size for array in a.arrays.values()):,} values differ"
    return found


def layout(encoded: Encoded) -> tuple[object, ...]:
    """Everything of a packed tensor but its values."""
    arrays = {key: (array.shape, array.dtype) for key, array in encoded.arrays.items()}
    return encoded.scheme, encoded.shape, encoded.bits, arrays


def same_model_check(subject: Subject) -> Check:
    """Whether the header of the packed file has the model section, the tokenizer and the size of the record."""
    packed, wanted = (reduced({"model": asdict(m)})["model"] for m in (subject.artifact.section, subject.config.model))
    problems = [
        f"model.{key}: {packed[key]} packed, {wanted[key]} in config.yaml"
        for key in wanted
        if packed[key] != wanted[key]
    ]
    record = subject.record
    if record.get("tokenizer_sha") not in (None, subject.artifact.tokenizer_sha256):
        problems.append(
            f"tokenizer: {subject.artifact.tokenizer_sha256[:12]} packed, {record['tokenizer_sha'][:12]} recorded"
        )
    total = sum(p.numel() for p in subject.artifact.model.parameters())
    for key, value in (("model_bytes", subject.artifact.file_bytes), ("params.total", total)):
        if record[key] != value:
            problems.append(f"{key}: {value:,} of the file, {record[key]:,} recorded")
    evidence = (
        "; ".join(problems[:SHOWN]) or f"{total:,} parameters, {subject.artifact.file_bytes:,} bytes, one tokenizer"
    )
    return Check(RULE, SAME_MODEL, Verdict.FAIL if problems else Verdict.PASS, evidence)


def cap_check(subject: Subject) -> Check:
    """Whether the file as it is and the recorded code are at most the cap."""
    packed, code = subject.artifact.file_bytes, subject.record["code_bytes"]
    total = packed + code
    evidence = f"{total:,} bytes = {packed:,} of the file + {code:,} of code; the cap is {CAP_BYTES:,}"
    limits = "the bytes of code are those of the record; libraries do not count"
    verdict = Verdict.PASS if total <= CAP_BYTES else Verdict.FAIL
    return Check(RULE, CAP, verdict, evidence, limits, {"total_bytes": total, "cap_bytes": CAP_BYTES})
