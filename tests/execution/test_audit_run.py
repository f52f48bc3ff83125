"""The rules for a run: a clean run passes every check, and each planted defect is found by the check that it breaks."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from audits_here import FAULTY, ON_PURPOSE, Runs, change, change_config, copy_of, everything, failed, named
from pgolf import train
from pgolf.audit import Report, Verdict
from pgolf.config import checks
from pgolf.config.build import build_eval, build_quantizer
from pgolf.data.prepare.cache import nothing_new
from pgolf.data.prepare.hub import HubFolder
from pgolf.errors import PgolfError
from pgolf.eval.plain import Plain
from pgolf.execution.artifact import CAP_BYTES, pack
from pgolf.execution.auditing import order, records, scores, training, whole
from pgolf.execution.auditing.rescore import rescore
from pgolf.execution.auditing.subject import Subject, open_subject
from pgolf.nn.naming import named_tensors
from pgolf.records.record import ARTIFACT
from pgolf.slots import Window
from run_folders import records as records_below
from tiny import resolved, tiny_config, tiny_model

PASS, FAIL, NOT_CHECKED = Verdict.PASS, Verdict.FAIL, Verdict.NOT_CHECKED


def test_a_clean_run_passes_every_check(runs: Runs) -> None:
    """With the score of a process of its own."""
    report = everything(runs())
    assert {check.verdict for check in report} == {PASS}, str(report)
    assert "difference +0.0e+00" in named(report, scores.ALONE).evidence
    assert "0 priming passes" in named(report, training.CLOCK).evidence
    assert "left out by eval.max_targets=3000" in report.checks[2].evidence


@pytest.mark.usefixtures("audited_here")
def test_a_score_that_is_not_of_the_file(run: Path) -> None:
    record = json.loads((run / "result.json").read_text())
    better = {"val_bpb": record["val_bpb"] * 0.999, "val_nats": record["val_nats"] * 0.999}
    change(run / "result.json", **better, quant_gap_bpb=better["val_bpb"] - record["val_bpb_live"])
    report = everything(run)
    assert failed(report) == [scores.ALONE, records.ONE_NUMBER]
    assert str(better["val_bpb"]) in named(report, scores.ALONE).evidence


@pytest.mark.usefixtures("audited_here")
def test_a_file_of_other_weights(run: Path) -> None:
    subject = open_subject(run)
    with torch.no_grad():
        named_tensors(subject.artifact.model)["model.mlp.0.fc.weight"][0] += 0.1
    repack(subject)
    report = everything(run)
    assert set(failed(report)) >= {scores.ALONE, records.SAME_WEIGHTS}
    assert "model.mlp.0.fc.weight: " in named(report, records.SAME_WEIGHTS).evidence


def repack(subject: Subject) -> None:
    assert subject.corpus is not None
    tokenizer, quantizer = subject.corpus.corpus.tokenizer, build_quantizer(subject.config)
    pack(subject.artifact.model, subject.config.model, tokenizer, quantizer, subject.folder / ARTIFACT)


@pytest.mark.parametrize(
    ("file", "pattern", "text"),
    [("metrics.jsonl", r'"val_bpb": [\d.]+', '"val_bpb": 1.5'), ("train.log", r"val bpb   [\d.]+", "val bpb   1.5000")],
)
def test_a_log_of_another_run(run: Path, file: str, pattern: str, text: str) -> None:
    path = run / file
    path.write_text(re.sub(pattern, text, path.read_text()))
    check = records.one_number_check(open_subject(run))
    assert check.verdict == FAIL
    assert f"in {file}" in check.evidence


def test_documents_that_are_not_those_of_the_record(run: Path) -> None:
    path = run / "documents.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    check = records.one_number_check(open_subject(run))
    assert check.verdict == FAIL
    assert "documents.bin: it is not the file that the record names" in check.evidence


def test_every_summary_of_the_log_is_compared(run: Path) -> None:
    """A second one with equal scores is allowed, whichever of them contradicts the record is found."""
    path = run / "train.log"
    text = path.read_text()
    path.write_text(text + text)
    assert records.one_number_check(open_subject(run)).verdict == PASS
    path.write_text(re.sub(r"val bpb   [\d.]+", "val bpb   1.5000", text) + text)
    check = records.one_number_check(open_subject(run))
    assert (check.verdict, "val_bpb: 1.5000 in train.log" in check.evidence) == (FAIL, True)


def test_a_damaged_line_of_the_log_is_not_checked(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "step"\n')
    check = records.one_number_check(open_subject(run))
    assert check.verdict == NOT_CHECKED
    assert "it is not JSON" in check.evidence


def test_a_missing_log_is_not_checked(run: Path) -> None:
    (run / "train.log").unlink()
    assert records.one_number_check(open_subject(run)).verdict == NOT_CHECKED


@pytest.fixture(scope="module")
def reports(runs: Runs) -> dict[str, Report]:
    """Of a run with every option and of one with all defects at once, audited once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "fresh_scores", lambda subject: rescore(subject.folder))
        return {"on purpose": everything(runs(*ON_PURPOSE)), "faulty": everything(runs(*FAULTY))}


def test_each_defect_fails_its_check_and_no_other(reports: dict[str, Report]) -> None:
    """That one defect alone fails no other check is asked of the published stacks."""
    assert failed(reports["faulty"]) == [
        scores.FAKE_OFF,
        scores.ESTIMATE,
        training.OWNED,
        training.MOVED,
        training.AVERAGE,
    ]
    fake, _, owned, moved, average = reports["faulty"].failed
    assert "on, by defects.qat_at_eval" in fake.evidence
    assert "model.head.up.weight" in owned.evidence
    assert "model.head.up.weight" in moved.evidence
    assert "8 of 21 snapshots" in average.evidence  # of steps 4..24, those after a step from 16 on


def test_a_run_with_every_option_and_no_defect_passes(reports: dict[str, Report]) -> None:
    report = reports["on purpose"]
    assert not report.failed, str(report)
    assert "frozen by optim.frozen: model.head.up.weight" in named(report, training.OWNED).evidence
    estimate = named(report, scores.ESTIMATE)
    assert (estimate.verdict, "stands beside it" in estimate.evidence) == (PASS, True)


def test_fake_quantization_that_the_configuration_hides(runs: Runs, tmp_path: Path) -> None:
    hidden = copy_of(runs(*FAULTY), tmp_path)
    change_config(hidden, "defects", qat_at_eval=False)
    subject = open_subject(hidden)
    check = scores.fake_check(subject, rescore(hidden))
    assert check.verdict == FAIL
    assert "on, by the score itself" in check.evidence


@pytest.mark.parametrize(("over", "verdict"), [(0, PASS), (1, FAIL)])
def test_one_byte_over_the_cap(run: Path, over: int, verdict: Verdict) -> None:
    code = CAP_BYTES + over - (run / ARTIFACT).stat().st_size
    change(run / "result.json", code_bytes=code, total_bytes=CAP_BYTES + over, under_cap=not over)
    check = records.cap_check(open_subject(run))
    assert check.verdict == verdict
    assert f"{CAP_BYTES + over:,} bytes" in check.evidence


def test_a_file_of_another_model(run: Path) -> None:
    change_config(run, "model", rope_base=5000.0)
    assert "model.rope_base: 10000.0 packed, 5000.0" in records.same_model_check(open_subject(run)).evidence
    change(run / "result.json", tokenizer_sha="0" * 64)
    assert "tokenizer: " in records.same_model_check(open_subject(run)).evidence


def test_an_evaluation_that_scores_its_tail_twice(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Plain.windows
    monkeypatch.setattr(Plain, "windows", lambda self, n: [*whole(self, n), Window(2976, 2990, 3000)])
    report = scores.plan_checks(open_subject(run))
    assert failed(report) == ["no target is scored twice", "the record has the targets and the mode of the plan"]


def test_test_time_training_is_executed_on_validation_text(run: Path) -> None:
    assert not order.order_checks(open_subject(run)).checks
    ttt = resolved("eval=ttt_lora", "eval.chunk=16")["eval"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "eval": ttt}))
    report = order.order_checks(open_subject(run))
    assert {check.verdict for check in report} == {PASS}, str(report)
    assert "95 scored tokens" in report.checks[0].evidence


def test_a_short_tail_is_left_out_only_by_name(run: Path) -> None:
    change_config(run, "eval", drop_tail=True)
    subject = open_subject(run)
    recorded = {"val_targets": 2976, "eval_mode": build_eval(subject.config).name}
    report = scores.plan_checks(replace(subject, record={**subject.record, **recorded}))
    assert not report.failed
    assert "2,976 of" in report.checks[0].evidence
    assert "eval.max_targets=3000, eval.drop_tail=true" in report.checks[0].evidence


def test_defects_of_the_corpus(run: Path) -> None:
    subject = open_subject(run)
    corpus = subject.corpus
    assert corpus is not None
    leaked = replace(corpus, train=(*corpus.train, corpus.val_tokens[100:300]))
    (window, _) = training.split_checks(replace(subject, corpus=leaked))
    assert window.verdict == FAIL
    assert window.data["shared_windows"] >= 137
    table = replace(corpus.byte_table, base_bytes=corpus.byte_table.base_bytes + (np.arange(384) == 300))
    assert len(scores.bytes_checks(replace(subject, corpus=replace(corpus, byte_table=table))).failed) >= 2


@pytest.mark.usefixtures("audited_here")
def test_what_needs_the_corpus_is_not_checked_without_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path / "empty"))
    report = everything(run)
    assert not report.failed
    names = [check.name for check in report.of(NOT_CHECKED)]
    assert names == [scores.ALONE, scores.FAKE_OFF, scores.PLAN, scores.BYTES, training.SPLIT]
    assert "the files that config.yaml names are not opened" in report.of(NOT_CHECKED)[0].evidence


def test_files_that_a_configuration_names_are_not_looked_at(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus is found in the cache by its hash, wherever config.yaml says that its text is."""
    change_config(run, "data", path="/")
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("it would walk the disk"))
    assert open_subject(run).corpus is not None


def test_files_that_a_configuration_names_are_opened_on_request(run: Path, tmp_path: Path) -> None:
    change_config(run, "data", path=str(tmp_path / "gone.txt"))
    change(run / "result.json", data_sha="0" * 64)
    assert "gone.txt" in open_subject(run, opens_files=True).no_corpus


@pytest.mark.parametrize(("context", "lengths"), [(1, "(2)"), (24, "(16, 24)")])
def test_the_model_is_looked_at_up_to_its_context(context: int, lengths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "REDRAWS", 0)
    report = whole.model_checks(tiny_model(tiny_config(f"train.seq_len={context}")).eval())
    assert not report.failed, str(report)
    assert f"one of each length {lengths}" in report.checks[1].limits


def test_a_run_that_may_not_be_written_is_audited(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "accepts_folders", lambda folder: False)  # also for root, who may write everywhere
    assert open_subject(run).corpus is not None


def test_nothing_is_downloaded_for_a_run(tmp_path: Path) -> None:
    hub = HubFolder(tmp_path / "hub", "someone/something", "main")
    with nothing_new(), pytest.raises(PgolfError, match=r"manifest.json: is not in the cache"):
        hub.fetch("manifest.json", lambda path: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("audited_here")
def test_weights_of_another_run_are_audited_there(runs: Runs, workshop: Path, tmp_path: Path) -> None:
    words = [f"train.from={runs()}", f"paths.out={tmp_path}", f"paths.cache={workshop / 'cache'}"]
    assert train.main(words) == 0
    ((folder, _),) = records_below(tmp_path)
    report = everything(folder)
    assert not report.failed, str(report)
    unseen = {training.OWNED, training.MOVED, training.RATES, training.AVERAGE, training.CLOCK, records.SAME_WEIGHTS}
    assert {check.name for check in report.of(NOT_CHECKED)} == unseen


def test_no_corpus_is_prepared_for_a_run(run: Path, workshop: Path) -> None:
    before = sorted((workshop / "cache").iterdir())
    change_config(run, "data", vocab_size=385)
    change_config(run, "model", vocab_size=385)
    assert "is not in the cache. Prepare it with" in open_subject(run, opens_files=True).no_corpus
    assert sorted((workshop / "cache").iterdir()) == before


def test_another_corpus_is_not_compared(run: Path) -> None:
    change(run / "result.json", data_sha="0" * 64)
    assert "data_sha 000000000000 is not in the cache" in open_subject(run).no_corpus
    assert "the corpus here is another one" in open_subject(run, opens_files=True).no_corpus


def test_a_run_folder_from_before_the_option_to_audit_is_read(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["launch"]["audit"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert open_subject(run).config.launch.audit is False


def test_unfinished_and_damaged_runs_are_refused(run: Path) -> None:
    content = (run / ARTIFACT).read_bytes()
    (run / ARTIFACT).write_bytes(content + b"x")
    with pytest.raises(PgolfError, match="payload is damaged or cut"):
        open_subject(run)
    (run / "result.json").unlink()
    with pytest.raises(PgolfError, match="is not a finished run, it has no record"):
        open_subject(run)
