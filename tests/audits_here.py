"""Runs to audit, and audits in the process of the test: a process of its own costs three seconds."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from pgolf import train
from pgolf.audit import Check, Report
from pgolf.audit import __main__ as audit_command
from pgolf.execution.auditing import order, records, scores, training, whole
from pgolf.execution.auditing.rescore import rescore
from pgolf.execution.auditing.subject import Subject, open_subject
from pgolf.sweep import audits
from run_folders import records as records_below

SWA = ("optim/averaging=swa", "optim.averaging.start_step=4", "optim.averaging.interval_steps=1")
ENDS_EARLY = ("optim/schedule=step_warmdown", "optim.schedule.start_step=4", "optim.schedule.warmdown_steps=12")
EVERYTHING = (
    *("train.qat_below=0.9", "eval=plain_and_908", "eval.stride=8", "model/head=untied", "model.head.zero_up=false"),
    *(*SWA, *ENDS_EARLY),
)
ON_PURPOSE = (*EVERYTHING, "optim.frozen=[model.head]")
FAULTY = (
    *EVERYTHING,
    *("defects.qat_at_eval=true", "defects.qat_block_bits=3", "defects.frozen=[model.head]"),
    *("defects.average_zero_lr=true", "defects.rope_bf16_frequencies=true"),
)
TWO_AUDITED = (  # a sweep; the second run breaks rules
    *("train.steps=8", "train.val_every=0", "eval.max_targets=500", "model/head=untied", "model.head.zero_up=false"),
    *("defects.frozen=[],[model.head]", "launch.audit=true"),
)
Runs = Callable[..., Path]


def finished_runs(workshop: Path, tiny: list[str]) -> Iterator[Runs]:
    """Folders of finished runs of a tiny model, trained once per set of overrides for all test processes."""

    def trained(*overrides: str) -> Path:
        out = workshop / "to_audit" / hashlib.sha256(" ".join(overrides).encode()).hexdigest()[:8]
        with FileLock(workshop / f"{out.name}.lock"):
            if not list(records_below(out)):
                assert train.main([*tiny, "train.val_every=0", *overrides, f"paths.out={out}"]) == 0
        ((folder, _),) = records_below(out)
        return folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGOLF_CACHE", str(workshop / "cache"))
        yield trained


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def change(path: Path, **values: Any) -> None:
    """Change fields of a record."""
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | values))


def change_config(folder: Path, section: str, **values: Any) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[section] |= values
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def failed(report: Report) -> list[str]:
    return [check.name for check in report.failed]


def named(report: Report, name: str) -> Check:
    (check,) = (check for check in report if check.name == name)
    return check


def everything(folder: Path) -> Report:
    """All rules except those of the model."""
    subject = open_subject(folder)
    score = scores.score_checks(subject) + order.order_checks(subject)
    return score + training.training_checks(subject) + records.record_checks(subject)


def score_here(patch: pytest.MonkeyPatch) -> None:
    """Audits score packed files in this process, and look at models with few inputs."""

    def here(subject: Subject) -> Any:
        return subject.no_corpus if subject.corpus is None else rescore(subject.folder, opens_files=subject.opens_files)

    patch.setattr(scores, "fresh_scores", here)
    patch.setattr(whole, "LENGTHS", (8,))
    patch.setattr(whole, "REDRAWS", 1)


def audit_here(patch: pytest.MonkeyPatch) -> None:
    """Also the audits of `launch.audit=true` take place in this process."""

    def here(folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        with pytest.MonkeyPatch.context() as cache:
            cache.setenv("PGOLF_CACHE", environment["PGOLF_CACHE"])
            found = [each.to_dict() for each in audit_command.audited(folder, opens_files=True)]
        return subprocess.CompletedProcess([], 0, json.dumps(found), "")

    score_here(patch)
    patch.setattr(audits, "audit_process", here)
