"""The audit of a run folder, of a bare packed file, and of a sweep."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgolf import audit
from pgolf.audit import Check, Report, Verdict
from pgolf.errors import PgolfError
from pgolf.execution.artifact import CAP_BYTES, unpack
from pgolf.execution.auditing import claims, order, records, scores, training
from pgolf.execution.auditing.subject import open_subject
from pgolf.nn.gpt import GPT
from pgolf.records.plan import planned_runs, read_plan

LENGTHS = (16, 128, None)  # tokens of the inputs of the model's checks; None: the context of the model
MOST_LENGTH = 4096  # a file decides about the context, and the work grows with its square
REDRAWS = 2  # how often their second look redraws the weights
DOCUMENTS = "documents"
NO_CLAIM = Check(
    DOCUMENTS,
    "nothing crosses a document start",
    Verdict.NOT_CHECKED,
    "no run claims it: attention, gates and hashes of pgolf's models look at earlier documents by design",
)
OF_A_RUN = (
    *((scores.RULE, name) for name in (scores.ALONE, scores.FAKE_OFF, scores.PLAN, scores.ESTIMATE, scores.BYTES)),
    *((training.RULE, name) for name in (training.OWNED, training.MOVED, training.RATES, training.AVERAGE)),
    *((training.RULE, name) for name in (training.CLOCK, training.SPLIT)),
    *((records.RULE, name) for name in (records.ONE_NUMBER, claims.ONE_CONFIGURATION)),
    *((records.RULE, name) for name in (records.SAME_WEIGHTS, records.SAME_MODEL)),
)


def model_checks(model: GPT) -> Report:
    """The rules causality, distribution and state of a model in evaluation. Attention crosses document starts."""

    def logp(ids_BT: Tensor) -> Tensor:
        result: Tensor = model.head.logp(model.hidden(ids_BT))
        return result

    context = min(max(model.dims.seq_len, 2), MOST_LENGTH)  # one token has no later one
    lengths = sorted({min(length or context, context) for length in LENGTHS})
    found = audit.model(logp, vocab_size=model.dims.vocab_size, model=model, lengths=lengths, redraws=REDRAWS)
    return Report((*(check for check in found if check.rule != DOCUMENTS), NO_CLAIM))


def audit_run(folder: Path, *, opens_files: bool = False) -> Report:
    """Every rule, of a finished run. opens_files: as for `find_corpus`.

    Raises PgolfError if the run has not finished or cannot be read.
    """
    subject = open_subject(folder, opens_files=opens_files)
    return (
        model_checks(subject.artifact.model)
        + scores.score_checks(subject)
        + order.order_checks(subject)
        + training.training_checks(subject)
        + records.record_checks(subject)
    )


def audit_artifact(path: Path) -> Report:
    """The rules that a packed file alone can show; the others are not checked. Raises PgolfError."""
    artifact = unpack(path, torch.device("cpu"))
    reason = "a packed file alone does not show it. Give the run folder"
    lost = tuple(Check(rule, name, Verdict.NOT_CHECKED, reason) for rule, name in OF_A_RUN)
    size = artifact.file_bytes
    evidence = f"{size:,} bytes of the file, without code; the cap is {CAP_BYTES:,}"
    verdict = Verdict.FAIL if size > CAP_BYTES else Verdict.NOT_CHECKED
    cap = Check(records.RULE, records.CAP, verdict, evidence, "the code's size is in the record of the run")
    return model_checks(artifact.model) + Report((*lost, cap))


@dataclass(frozen=True)
class Audited:
    """One audited path. report: None if it could not be audited, for the reason `refusal`."""

    path: Path
    report: Report | None
    refusal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        found = {"counts": None, "checks": None} if self.report is None else self.report.to_dict()
        return {"path": str(self.path), "refusal": self.refusal or None, **found}


def audit_sweep(folder: Path, *, opens_files: bool = False) -> Iterator[Audited]:
    """Every planned run of a study's folder, in the order of the plan. Raises PgolfError for a damaged plan."""
    for name in dict.fromkeys(run.folder for run in planned_runs(read_plan(folder))):
        try:
            yield Audited(folder / name, audit_run(folder / name, opens_files=opens_files))
        except PgolfError as error:
            yield Audited(folder / name, None, " ".join(str(error).split()))
