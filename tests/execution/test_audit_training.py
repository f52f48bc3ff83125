"""The rule `training` for a run: each planted defect of weights, rates and clock is found by its check."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from audits_here import ON_PURPOSE, Runs, change, change_config, copy_of, failed, named
from pgolf.audit import Verdict
from pgolf.config.build import build_model, build_quantizer, start_weights
from pgolf.execution.auditing import records, training
from pgolf.execution.auditing.subject import Subject, open_subject
from pgolf.nn.naming import named_tensors
from pgolf.training.checkpoint import WEIGHTS, load_weights, save_weights

PASS, FAIL, NOT_CHECKED = Verdict.PASS, Verdict.FAIL, Verdict.NOT_CHECKED


def test_a_record_that_hides_frozen_weights(runs: Runs, tmp_path: Path) -> None:
    folder = copy_of(runs(*ON_PURPOSE), tmp_path)
    record = json.loads((folder / "result.json").read_text())
    change(folder / "result.json", **{"params.frozen": 0, "params.trained": record["params.total"]})
    subject = open_subject(folder)
    check = training.owned_check(subject, training.Initial(subject))
    assert check.verdict == FAIL
    assert "the record has 0 frozen parameters" in check.evidence


def initial(subject: Subject) -> dict[str, torch.Tensor]:
    model = build_model(subject.config.model)
    start_weights(model, subject.config.model, subject.config.seed, torch.device("cpu"))
    return {name: p.detach() for name, p in named_tensors(model).items()}


@pytest.mark.parametrize("rounded", [False, True])
def test_a_weight_that_never_moved(run: Path, *, rounded: bool) -> None:
    subject = open_subject(run)
    name, start = next((name, tensor) for name, tensor in initial(subject).items() if "q_proj.1" in name)
    weights = load_weights(run, WEIGHTS) | {name: start.bfloat16().float() if rounded else start}
    save_weights(run, WEIGHTS, weights)
    check = training.moved_check(subject, training.Initial(subject))
    assert check.verdict == FAIL
    assert f"at their initial weights: {name}" in check.evidence


def test_a_tensor_without_numbers_need_not_move(runs: Runs) -> None:
    subject = open_subject(runs("model.layers=1"))
    assert any(not tensor.numel() for tensor in initial(subject).values())
    assert training.moved_check(subject, training.Initial(subject)).verdict == PASS


def test_without_kept_weights_equal_floats_fail_and_equal_codes_are_not_checked(run: Path, runs: Runs) -> None:
    shutil.rmtree(run / "checkpoint")
    subject = open_subject(run)
    assert training.moved_check(subject, training.Initial(subject)).verdict == PASS
    coded = next(name for name, encoded in subject.encoded.items() if encoded.scheme == "int")
    floats = next(name for name, encoded in subject.encoded.items() if encoded.scheme == "fp32")
    for name, verdict in ((coded, NOT_CHECKED), (floats, FAIL)):
        start = training.as_packed(subject, name, initial(subject)[name])
        arrays = {**subject.encoded}
        arrays[name] = build_quantizer(subject.config).encode(name, start)
        check = training.moved_check(replace(subject, encoded=arrays), training.Initial(subject))
        assert check.verdict == verdict
        assert name in check.evidence
    assert records.same_weights_check(subject).verdict == NOT_CHECKED


def test_a_learning_rate_that_is_zero_for_most_of_the_run(runs: Runs) -> None:
    early = ("optim/schedule=step_warmdown", "optim.schedule.start_step=0", "optim.schedule.warmdown_steps=2")
    report = training.training_checks(open_subject(runs(*early)))
    assert failed(report) == [training.RATES]
    assert "22 of 24 steps at learning rate zero" in report.failed[0].evidence


def edit_events(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == "train":
            edit(line)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_logged_rates_that_are_not_those_of_the_schedule(run: Path) -> None:
    edit_events(run, lambda line: line.update(lr_scale=line["lr_scale"] * (0.5 if line["step"] == 24 else 1)))
    check = named(training.training_checks(open_subject(run)), training.RATES)
    assert check.verdict == FAIL
    assert "at step 24, the schedule" in check.evidence


def stopped_clock(line: dict[str, Any]) -> None:
    """The clock stands while steps go on."""
    line["elapsed_s"] = 0.5 if line["step"] < 24 else line["elapsed_s"]
    line["step_ms"] = 30.0


def other_end(line: dict[str, Any]) -> None:
    line["step"] += 1 if line["step"] == 24 else 0


@pytest.mark.parametrize(("edit", "evidence"), [(stopped_clock, "of the clock"), (other_end, "log ends at step 25")])
def test_training_outside_the_clock(run: Path, edit: Callable[[dict[str, Any]], None], evidence: str) -> None:
    edit_events(run, edit)
    check = training.clock_check(open_subject(run))
    assert check.verdict == FAIL
    assert evidence in check.evidence


def test_steps_that_are_longer_than_the_clock(run: Path) -> None:
    record = json.loads((run / "result.json").read_text())
    change(run / "result.json", step_ms_median=record["train_s"] * 1000 / 24 * 2.5)
    check = training.clock_check(open_subject(run))
    assert check.verdict == FAIL
    assert "24 steps took" in check.evidence


def test_a_configuration_of_a_larger_model_allocates_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(run / "result.json", steps=float(json.loads((run / "result.json").read_text())["steps"]))
    change_config(run, "model", width=1 << 15, heads=1 << 8, kv_heads=1)
    monkeypatch.setattr(training, "start_weights", lambda *_: pytest.fail("it would draw the weights"))
    monkeypatch.setattr(records, "initialise", lambda *_: pytest.fail("it would allocate the weights"))
    subject = open_subject(run)
    assert subject.record["steps"] == 24
    check = training.moved_check(subject, training.Initial(subject))
    assert check.evidence == "config.yaml describes another model than the packed file"
    assert records.same_weights_check(subject).verdict == Verdict.FAIL
