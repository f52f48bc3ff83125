"""The rules for a run: a clean run passes every check, and each planted defect is found by the check that it breaks."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pgolf import train
from pgolf.audit import Check, Report, Verdict
from pgolf.config.build import build_model, build_quantizer, start_weights
from pgolf.data.prepare.cache import nothing_new
from pgolf.data.prepare.hub import HubFolder
from pgolf.errors import PgolfError
from pgolf.eval.plain import Plain
from pgolf.nn.naming import named_tensors
from pgolf.run.artifact import CAP_BYTES, pack
from pgolf.run.auditing import records, scores, training
from pgolf.run.auditing.subject import Subject, open_subject
from pgolf.run.finish import ARTIFACT
from pgolf.slots import Window
from pgolf.training.checkpoint import WEIGHTS, load_weights, save_weights
from run_folders import records as records_below

PASS, FAIL, NOT_CHECKED = Verdict.PASS, Verdict.FAIL, Verdict.NOT_CHECKED
FAULTY = ["train.qat_below=0.9", "defects.qat_at_eval=true", "defects.qat_block_bits=3"]
Runs = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tiny: list[str], workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Folders of finished runs of a tiny model, trained once per set of overrides."""
    patch, root = pytest.MonkeyPatch(), tmp_path_factory.mktemp("runs")
    patch.setenv("PGOLF_CACHE", str(workshop / "cache"))
    known: dict[tuple[str, ...], Path] = {}

    def trained(*overrides: str) -> Path:
        if overrides not in known:
            out = root / str(len(known))
            assert train.main([*tiny, "train.val_every=0", *overrides, f"paths.out={out}"]) == 0
            ((known[overrides], _),) = records_below(out)
        return known[overrides]

    yield trained
    patch.undo()


@pytest.fixture
def run(runs: Runs, tmp_path: Path) -> Path:
    """A copy of the clean run, to be changed."""
    return copy_of(runs(), tmp_path)


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
    return scores.score_checks(subject) + training.training_checks(subject) + records.record_checks(subject)


def test_a_clean_run_passes_every_check(runs: Runs) -> None:
    report = everything(runs())
    assert {check.verdict for check in report} == {PASS}, str(report)
    assert "difference +0.0e+00" in named(report, scores.ALONE).evidence
    assert "0 priming passes" in named(report, training.CLOCK).evidence
    assert "left out by eval.max_targets=3000" in report.checks[2].evidence


def test_a_score_that_is_not_of_the_file(run: Path) -> None:
    record = json.loads((run / "result.json").read_text())
    better = {"val_bpb": record["val_bpb"] * 0.999, "val_nats": record["val_nats"] * 0.999}
    change(run / "result.json", **better, quant_gap_bpb=better["val_bpb"] - record["val_bpb_live"])
    report = everything(run)
    assert failed(report) == [scores.ALONE, records.ONE_NUMBER]
    assert str(better["val_bpb"]) in named(report, scores.ALONE).evidence


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


def test_a_damaged_line_of_the_log_is_not_checked(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "step"\n')
    check = records.one_number_check(open_subject(run))
    assert check.verdict == NOT_CHECKED
    assert "it is not JSON" in check.evidence


def test_a_missing_log_is_not_checked(run: Path) -> None:
    (run / "train.log").unlink()
    assert records.one_number_check(open_subject(run)).verdict == NOT_CHECKED


def test_fake_quantization_left_on(runs: Runs, tmp_path: Path) -> None:
    report = everything(runs(*FAULTY))
    assert failed(report) == [scores.FAKE_OFF]
    assert "on, by defects.qat_at_eval" in report.failed[0].evidence
    hidden = copy_of(runs(*FAULTY), tmp_path)
    change_config(hidden, "defects", qat_at_eval=False)
    check = named(scores.score_checks(open_subject(hidden)), scores.FAKE_OFF)
    assert check.verdict == FAIL
    assert "on, by the score itself" in check.evidence


def test_fake_quantization_that_ended_with_training(runs: Runs) -> None:
    assert not everything(runs("train.qat_below=0.9")).failed


def test_weights_in_no_optimizer(runs: Runs) -> None:
    untied = ("model/head=untied", "model.head.zero_up=false")
    report = everything(runs(*untied, "defects.frozen=[model.head]"))
    assert failed(report) == [training.OWNED, training.MOVED]
    assert all("model.head.up.weight" in check.evidence for check in report.failed)
    on_purpose = everything(runs(*untied, "optim.frozen=[model.head]"))
    assert not on_purpose.failed
    assert "frozen by optim.frozen: model.head.up.weight" in named(on_purpose, training.OWNED).evidence


def test_a_record_that_hides_frozen_weights(runs: Runs, tmp_path: Path) -> None:
    folder = copy_of(runs("optim.frozen=[model.gains]"), tmp_path)
    record = json.loads((folder / "result.json").read_text())
    change(folder / "result.json", **{"params.frozen": 0, "params.trained": record["params.total"]})
    assert "the record has 0 frozen parameters" in training.training_checks(open_subject(folder)).failed[0].evidence


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


SWA = ("optim/averaging=swa", "optim.averaging.start_step=4", "optim.averaging.interval_steps=1")
ENDS_EARLY = ("optim/schedule=step_warmdown", "optim.schedule.start_step=4", "optim.schedule.warmdown_steps=12")


def test_snapshots_at_learning_rate_zero(runs: Runs) -> None:
    report = everything(runs(*SWA, *ENDS_EARLY, "defects.average_zero_lr=true"))
    assert failed(report) == [training.AVERAGE]
    assert "8 of 21 snapshots" in report.failed[0].evidence  # of steps 4..24, those after a step from 16 on
    assert not everything(runs(*SWA, *ENDS_EARLY)).failed


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


def test_a_short_tail_is_left_out_only_by_name(runs: Runs) -> None:
    report = scores.plan_checks(open_subject(runs("eval.drop_tail=true")))
    assert not report.failed
    assert "2,976 of" in report.checks[0].evidence
    assert "eval.max_targets=3000, eval.drop_tail=true" in report.checks[0].evidence


def test_the_published_estimate_is_a_finding_only_where_it_is_the_claim(runs: Runs) -> None:
    estimate = ("eval=plain_and_908", "eval.stride=8")
    clean = named(scores.score_checks(open_subject(runs(*estimate))), scores.ESTIMATE)
    assert (clean.verdict, "stands beside it" in clean.evidence) == (PASS, True)
    faulty = everything(runs(*estimate, "defects.rope_bf16_frequencies=true"))
    assert failed(faulty) == [scores.ESTIMATE]


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


def test_what_needs_the_corpus_is_not_checked_without_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_config(run, "data", path=str(tmp_path / "gone.txt"))
    report = everything(run)
    assert not report.failed
    names = [check.name for check in report.of(NOT_CHECKED)]
    assert names == [scores.ALONE, scores.FAKE_OFF, scores.PLAN, scores.BYTES, training.SPLIT]
    assert "gone.txt" in report.of(NOT_CHECKED)[0].evidence


def test_nothing_is_downloaded_for_a_run(tmp_path: Path) -> None:
    hub = HubFolder(tmp_path / "hub", "someone/something", "main")
    with nothing_new(), pytest.raises(PgolfError, match=r"manifest.json: is not in the cache"):
        hub.fetch("manifest.json", lambda path: None)
    assert list(tmp_path.iterdir()) == []


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
    assert "is not in the cache. Prepare it with" in open_subject(run).no_corpus
    assert sorted((workshop / "cache").iterdir()) == before


def test_another_corpus_is_not_compared(run: Path) -> None:
    change(run / "result.json", data_sha="0" * 64)
    assert "the corpus here is another one" in open_subject(run).no_corpus


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
