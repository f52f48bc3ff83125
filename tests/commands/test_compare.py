"""What differs between two runs, on the terminal and as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from made_records import damage, failed, put, record
from pgolf import compare


def run_of(tmp_path: Path, arm: str, *, batch: int = 100, **other: Any) -> Path:
    """A run folder with a curve of four training lines and a validation line."""
    made = record(arm, 1, 2.0, budget__batch_tokens=batch, config__train__batch_tokens=batch, **other)
    folder = put(tmp_path, made).parent
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
    made = json.loads(capsys.readouterr().out)
    assert isinstance(made, dict)
    return made


def on_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    monkeypatch.setattr(sys, "argv", ["pgolf.compare", *map(str, argv)])
    assert compare.main() == 0
    return capsys.readouterr().out


def test_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (
        run_of(tmp_path, "tied"),
        run_of(tmp_path, "mos", params__total=1500, code_sha="other", config__model__rank=4),
    )
    made = as_json(monkeypatch, capsys, a, b / "result.json")
    assert made["config"] == {"model.head.name": ["tied", "mos"], "model.rank": ["(absent)", 4]}
    assert made["parameters"]["params.total"] == [1000, 1500]
    assert made["bytes"]["total_bytes"] == [500_000, 500_000]
    assert made["scores"]["val_bpb"] == [2.0, 2.0]
    assert made["provenance"]["code_sha"] == ["c0de", "other"]
    curves = {curve["name"]: (curve["axis"], curve["points"]) for curve in made["curves"]}
    assert curves["train_bpb"] == ("step", [[s, 4.0 / s, 4.0 / s] for s in (1, 2, 4, 8)])
    assert curves["val_bpb_live"] == ("step", [[4, 2.5, 2.5]])
    assert made["notes"] == []
    said = on_terminal(monkeypatch, capsys, a, b)
    for part in (
        "configuration differences",
        "model.head.name",
        '"mos"',
        "(absent)",
        "params.total",
        "+500",
        "train_bpb at equal step",
    ):
        assert part in said


def test_other_batches_are_compared_at_equal_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = as_json(monkeypatch, capsys, run_of(tmp_path, "tied"), run_of(tmp_path, "mos", batch=200))
    assert any("batches of 100 and 200 tokens" in note for note in made["notes"])
    (curve,) = [curve for curve in made["curves"] if curve["name"] == "train_bpb"]
    assert (curve["axis"], curve["points"]) == ("tokens", [[200, 2.0, 4.0], [400, 1.0, 2.0], [800, 0.5, 1.0]])


@pytest.mark.parametrize(
    ("change", "said", "left"),
    [
        ({"eval_mode": "sliding"}, "different evaluation modes", {"train_bpb"}),
        ({"val_text_sha": "f"}, "different validation texts", {"train_bpb"}),
        ({"val_bytes": 500}, "different parts of the validation text", {"train_bpb"}),
        ({"val_targets": 4000}, "another tokenizer", {"train_bpb", "val_bpb_live"}),
    ],
)
def test_what_does_not_compare_is_not_subtracted(
    change: dict[str, Any],
    said: str,
    left: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = run_of(tmp_path, "tied"), run_of(tmp_path, "mos", **change)
    made = as_json(monkeypatch, capsys, a, b)
    assert any(said in note for note in made["notes"])
    assert "val_nats" in made["incomparable"]
    assert {curve["name"] for curve in made["curves"]} == left
    assert "not comparable" in on_terminal(monkeypatch, capsys, a, b)


def test_failed_and_unfinished_runs_and_damaged_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run_of(tmp_path, "tied"), run_of(tmp_path, "mos")
    put(tmp_path, failed("mos", 1))
    damage(b / "metrics.jsonl", 0.7)
    made = as_json(monkeypatch, capsys, a, b)
    assert any("failed, mos fell over" in note for note in made["notes"])
    assert any("metrics.jsonl: damaged: line" in note for note in made["notes"])
    (b / "result.json").unlink()
    (b / "config.yaml").write_text("model:\n  layers: 4\neval:\n  stride: 1e-3\nrun:\n  arm: mos\n")
    (b / "metrics.jsonl").unlink()
    made = as_json(monkeypatch, capsys, a, b)
    assert made["config"]["model.layers"] == [3, 4]
    assert made["config"]["eval.stride"] == ["(absent)", 0.001]
    assert any("did not finish" in note for note in made["notes"])
    assert any("no curve" in note for note in made["notes"])
    assert any("eval.stride differ" in note for note in made["notes"])
    assert made["curves"] == []


def test_one_configuration_twice_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path, "tied")
    assert any("same configuration and seed" in note for note in as_json(monkeypatch, capsys, a, a)["notes"])


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "is not a run folder"), ("", "not of a study"), ("bad", "it is not JSON")]
)
def test_no_such_run(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path, "tied")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "result.json").write_text("{")
    monkeypatch.setattr(sys, "argv", ["pgolf.compare", str(a), str(tmp_path / name)])
    assert compare.main() == 2
    assert said in capsys.readouterr().err
