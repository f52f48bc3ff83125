"""The differences between two runs, on the terminal and as JSON."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_records import damage, failed, put, record
from pgolf import compare
from pgolf.records.documents import DocumentScores, document_fields, write_documents
from pgolf.records.record import write_record


def run_of(tmp_path: Path, arm: str, *, batch: int = 100, **other: Any) -> Path:
    """A run folder with a curve of four training lines and a validation line."""
    result = record(arm, 1, 2.0, budget__batch_tokens=batch, config__train__batch_tokens=batch, **other)
    folder = put(tmp_path, result).parent
    lines: list[dict[str, Any]] = [{"event": "start", "parameters": 5}]
    lines += [
        {"event": "train", "step": s, "tokens": s * batch, "train_bpb": 4.0 / s, "train_nats": 2.0 / s}
        for s in (1, 2, 4, 8)
    ]
    lines += [{"event": "val", "step": 4, "val_bpb_live": 2.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["pgolf.compare", *map(str, argv), "--json"])
    assert compare.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


def on_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    monkeypatch.setattr(sys, "argv", ["pgolf.compare", *map(str, argv)])
    assert compare.main() == 0
    return capsys.readouterr().out


def test_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (
        run_of(tmp_path, "tied"),
        run_of(tmp_path, "mos", params__total=1500, code_sha="other", config__model__rank=4),
    )
    result = as_json(monkeypatch, capsys, a, b / "result.json")
    assert result["config"] == {"model.head.name": ["tied", "mos"], "model.rank": ["(absent)", 4]}
    assert result["parameters"]["params.total"] == [1000, 1500]
    assert result["bytes"]["total_bytes"] == [500_000, 500_000]
    assert result["scores"]["val_bpb"] == [2.0, 2.0]
    assert result["provenance"]["code_sha"] == ["c0de", "other"]
    curves = {curve["name"]: (curve["axis"], curve["points"]) for curve in result["curves"]}
    assert curves["train_bpb"] == ("step", [[s, 4.0 / s, 4.0 / s] for s in (1, 2, 4, 8)])
    assert curves["val_bpb_live"] == ("step", [[4, 2.5, 2.5]])
    assert result["notes"] == []
    message = on_terminal(monkeypatch, capsys, a, b)
    for part in (
        "configuration differences",
        "model.head.name",
        '"mos"',
        "(absent)",
        "params.total",
        "+500",
        "train_bpb at equal step",
    ):
        assert part in message


def test_other_batches_are_compared_at_equal_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = as_json(monkeypatch, capsys, run_of(tmp_path, "tied"), run_of(tmp_path, "mos", batch=200))
    assert any("batches of 100 and 200 tokens" in note for note in result["notes"])
    (curve,) = [curve for curve in result["curves"] if curve["name"] == "train_bpb"]
    assert (curve["axis"], curve["points"]) == ("tokens", [[200, 2.0, 4.0], [400, 1.0, 2.0], [800, 0.5, 1.0]])


@pytest.mark.parametrize(
    ("change", "message", "left"),
    [
        ({"eval_mode": "sliding"}, "different evaluation modes", {"train_bpb"}),
        ({"val_text_sha": "f"}, "different validation texts", {"train_bpb"}),
        ({"val_bytes": 500}, "different parts of the validation text", {"train_bpb"}),
        ({"val_targets": 4000}, "another tokenizer", {"train_bpb", "val_bpb_live"}),
    ],
)
def test_what_does_not_compare_is_not_subtracted(
    change: dict[str, Any],
    message: str,
    left: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = run_of(tmp_path, "tied"), run_of(tmp_path, "mos", **change)
    result = as_json(monkeypatch, capsys, a, b)
    assert any(message in note for note in result["notes"])
    assert "val_nats" in result["incomparable"]
    assert {curve["name"] for curve in result["curves"]} == left
    assert "not comparable" in on_terminal(monkeypatch, capsys, a, b)


def test_failed_and_unfinished_runs_and_damaged_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run_of(tmp_path, "tied"), run_of(tmp_path, "mos")
    put(tmp_path, failed("mos", 1))
    damage(b / "metrics.jsonl", 0.7)
    result = as_json(monkeypatch, capsys, a, b)
    assert any("failed, mos fell over" in note for note in result["notes"])
    assert any("metrics.jsonl: damaged: line" in note for note in result["notes"])
    (b / "result.json").unlink()
    (b / "config.yaml").write_text("model:\n  layers: 4\neval:\n  stride: 1e-3\nrun:\n  arm: mos\n")
    (b / "metrics.jsonl").unlink()
    result = as_json(monkeypatch, capsys, a, b)
    assert result["config"]["model.layers"] == [3, 4]
    assert result["config"]["eval.stride"] == ["(absent)", 0.001]
    assert any("did not finish" in note for note in result["notes"])
    assert any("no curve" in note for note in result["notes"])
    assert any("eval.stride differ" in note for note in result["notes"])
    assert result["curves"] == []


def test_one_configuration_twice_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path, "tied")
    assert any("same configuration and seed" in note for note in as_json(monkeypatch, capsys, a, a)["notes"])


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "is not a run folder"), ("", "not of a study"), ("bad", "it is not JSON")]
)
def test_no_such_run(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path, "tied")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "result.json").write_text("{")
    monkeypatch.setattr(sys, "argv", ["pgolf.compare", str(a), str(tmp_path / name)])
    assert compare.main() == 2
    assert message in capsys.readouterr().err


def test_a_value_that_reads_like_a_missing_one_is_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run_of(tmp_path, "tied", config__model__note="(absent)"), run_of(tmp_path, "mos")
    line = next(line for line in on_terminal(monkeypatch, capsys, a, b).splitlines() if "model.note" in line)
    assert line.split() == ["model.note", '"(absent)"', "(absent)"]


def with_documents(folder: Path, nats: np.ndarray, sizes: np.ndarray, **other: Any) -> Path:
    """A run folder whose record has these documents."""
    scores = DocumentScores(nats, sizes, False, False)
    fields = json.loads((folder / "result.json").read_text())
    score = {
        "val_bytes": int(sizes.sum()),
        "val_nats": nats.sum() / fields["val_targets"],
        "val_bpb": nats.sum() / math.log(2) / sizes.sum(),
    }
    write_record(folder, {**fields, **score, **document_fields(scores), **other})
    write_documents(folder, scores)
    return folder


def test_the_uncertainty_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    sizes = draw.integers(100, 5000, 100)
    nats = sizes * draw.uniform(1.0, 2.0, 100)
    less = nats - sizes * draw.normal(0.1, 0.05, 100)
    a = with_documents(run_of(tmp_path, "tied"), nats, sizes, weights_sha="w")
    b = with_documents(run_of(tmp_path, "mos"), less, sizes, eval_mode="sliding", **{"from.weights_sha": "w"})
    assert any("different evaluation modes" in note for note in as_json(monkeypatch, capsys, a, b)["notes"])
    found = as_json(monkeypatch, capsys, a, b)["text"]
    expected = (less.sum() - nats.sum()) / math.log(2) / sizes.sum()
    assert found["difference"] == pytest.approx(expected, rel=1e-6)
    assert found["low"] < expected < found["high"] < 0
    assert (found["covers"], found["documents"], found["one_checkpoint"]) == ("documents", 100, True)
    lines = on_terminal(monkeypatch, capsys, a, b).splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("uncertainty of the text: B - A -0.1")]
    assert lines[at + 1] == "  the interval covers documents: 100, for one checkpoint"
    assert sum(line.startswith("  documents of ") for line in lines) == 4
    change = f"{(less - nats)[int(np.argmax(np.abs(less - nats)))] / math.log(2):+,.0f} bits"
    assert change in lines[at + 6]
    with_documents(b, less, sizes, eval_mode="sliding", **{"from.weights_sha": "other"})
    assert "the evaluation modes differ" in as_json(monkeypatch, capsys, a, b)["text"]["reason"]
    with_documents(b, less, sizes, **{"from.weights_sha": "other", "eval_mode": "plain64"})
    assert "two trainings, whose noise between seeds" in on_terminal(monkeypatch, capsys, a, b)
    damage(b / "documents.bin")
    assert "documents.bin: " in as_json(monkeypatch, capsys, a, b)["text"]["reason"]
    assert "names no file of documents" in as_json(monkeypatch, capsys, a, run_of(tmp_path, "old"))["text"]["reason"]
