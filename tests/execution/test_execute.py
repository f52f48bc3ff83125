"""One run, from the command to the record."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pgolf import evaluate
from pgolf.config.saved import load_saved
from pgolf.config.schema import plain_config
from pgolf.execution.artifact import unpack
from run_folders import Command, InterruptsAt, events, records

Train = Callable[[list[str]], int]
MainOf = Callable[..., tuple[int, str, str]]


def test_trains_packs_rescores_and_records(
    train_here: Train, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_here([*tiny, "model/head=mos", "model.head.rank=8", "model.head.experts=2"]) == 0
    ((folder, record),) = records(tmp_path)
    assert record["status"] == "ok"
    assert record["choices.model/head"] == "mos"
    assert (record["steps"], record["tokens"], record["val_targets"]) == (24, 24 * 256, 3000)
    assert record["params.frozen"] == 0
    slots = [
        v
        for k, v in record.items()
        if k.startswith("params.") and k.split(".")[1] not in ("total", "trained", "frozen")
    ]
    assert record["params.total"] == sum(slots)
    assert math.isclose(
        record["val_bpb"], record["val_nats"] / math.log(2) * record["val_targets"] / record["val_bytes"]
    )
    assert record["total_bytes"] == record["model_bytes"] + record["code_bytes"]
    assert record["model_bytes"] == (folder / "artifact.pgolf").stat().st_size
    assert record["under_cap"] is True
    assert record["quant_gap_bpb"] == record["val_bpb"] - record["val_bpb_live"]
    assert abs(record["quant_gap_bpb"]) < 0.05
    lines = events(folder, "train")
    assert [line["step"] for line in lines] == [1, 4, 8, 12, 16, 20, 24]
    assert lines[-1]["train_nats"] < lines[0]["train_nats"] - 0.5
    assert [line["step"] for line in events(folder, "val")] == [12]
    shown = capsys.readouterr().out
    assert "from the packed file" in shown
    assert "result.json" in shown
    assert (folder / "train.log").read_text(encoding="utf-8") in shown
    saved = json.dumps(plain_config(load_saved(folder).config))
    assert "auto" not in saved
    assert "${" not in saved
    assert load_saved(folder).identity["fingerprint"] == record["fingerprint"]


def test_same_seed_same_numbers_and_bytes(train_here: Train, tiny: list[str], tmp_path: Path) -> None:
    for place, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert train_here([*tiny, f"seed={seed}", f"paths.out={tmp_path / place}"]) == 0
    (a, b, c) = (next(records(tmp_path / place))[0] for place in "abc")
    for kind in ("train", "val", "final"):
        assert events(a, kind) == events(b, kind)
        assert events(a, kind) != events(c, kind)
    assert (a / "artifact.pgolf").read_bytes() == (b / "artifact.pgolf").read_bytes()
    assert (a / "artifact.pgolf").read_bytes() != (c / "artifact.pgolf").read_bytes()
    assert a.name.split("-")[1] == c.name.split("-")[1], "the fingerprint holds no seed"


def test_frozen_weights_keep_their_bytes_and_are_counted_in_the_record(
    train_here: Train, tiny: list[str], tmp_path: Path
) -> None:
    untied = [*tiny, "model/head=untied", "model.head.zero_up=false", "quant=none"]
    assert train_here([*untied, "optim.frozen=[model.head]", "train.steps=1", f"paths.out={tmp_path / 'short'}"]) == 0
    assert train_here([*untied, "optim.frozen=[model.head]", f"paths.out={tmp_path / 'long'}"]) == 0
    ((short, record),), ((long, _),) = records(tmp_path / "short"), records(tmp_path / "long")
    assert record["params.frozen"] == record["params.head"] == 384 * 32
    first, last = (
        unpack(folder / "artifact.pgolf", torch.device("cpu")).model.state_dict() for folder in (short, long)
    )
    assert torch.equal(first["head.up.weight"], last["head.up.weight"])
    assert not torch.equal(first["embedding.table.weight"], last["embedding.table.weight"])


def test_a_run_that_diverges_is_recorded_as_such(train_here: Train, tiny: list[str], tmp_path: Path) -> None:
    absurd = ["optim.roles.scalar.lr=1e30", "optim.roles.matrix.lr=1e30", "optim/schedule=constant"]
    assert train_here([*tiny, *absurd]) == 1
    ((folder, record),) = records(tmp_path)
    assert record["status"] == "diverged"
    assert "training loss is" in record["error"]
    assert "DivergedError" in (folder / "error.txt").read_text(encoding="utf-8")
    assert not (folder / "artifact.pgolf").exists()


def test_a_run_that_is_interrupted_leaves_a_record_and_no_traceback(
    train_here: Train, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", InterruptsAt(sys.stdout, "scoring the live model"))
        assert train_here(tiny) == 130
    ((folder, record),) = records(tmp_path)
    assert (record["status"], record["error"]) == ("interrupted", "stopped by the user")
    assert not list(folder.glob("error*"))


def test_evaluate_needs_the_file_alone(
    train_here: Train, command: Command, main_of: MainOf, tiny: list[str], tmp_path: Path
) -> None:
    assert train_here(tiny) == 0
    ((folder, record),) = records(tmp_path)
    moved = tmp_path / "moved.pgolf"
    (folder / "artifact.pgolf").rename(moved)
    data = [o for o in tiny if o.startswith(("data", "paths", "eval"))]
    done = command("pgolf.evaluate", str(moved), *data, "train.threads=1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["val_bpb"] == record["val_bpb"]
    code, out, err = main_of(evaluate, str(moved), *data, "eval=sliding", "eval.stride=8", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["val_targets"] == record["val_targets"]
    assert found["eval_mode"] == "sliding32-stride8-first3000"
    assert found["val_bpb"] < record["val_bpb"]
    check_against(main_of, moved, data, found["val_bpb"] - record["val_bpb"])
    other = [o for o in data if not o.startswith("data.vocab_size")]
    code, _, err = main_of(evaluate, str(moved), *other, "data.vocab_size=400")
    assert code == 2
    assert "another tokenizer" in err
    moved.write_bytes(moved.read_bytes()[:-1])
    code, _, err = main_of(evaluate, str(moved), *data)
    assert code == 2
    assert str(moved) in err
    assert "Traceback" not in err


def check_against(main_of: MainOf, packed: Path, data: list[str], gap: float) -> None:
    """Two modes of one packed file, on the terminal and as JSON. gap: sliding minus plain, in bpb."""
    sliding = [str(packed), *data, "eval=sliding", "eval.stride=8"]
    code, out, err = main_of(evaluate, *sliding, "--json", "--against", "eval=plain")
    assert code == 0, err
    found = json.loads(out)
    assert found["against"]["eval_mode"] == "plain32-first3000", "the number of targets is kept"
    assert found["text"]["difference"] == pytest.approx(gap, abs=1e-7)
    assert found["text"]["one_checkpoint"] is True
    assert found["text"]["documents"] == found["documents"] == found["against"]["documents"]
    code, out, err = main_of(evaluate, *sliding, "--against", str(packed), "eval.stride=4")
    assert code == 0, err
    assert "sliding32-stride4" in out
    assert "the first minus the second" in out
    assert "one checkpoint" in out
    code, _, err = main_of(evaluate, *sliding, "--against", str(packed), "b.pgolf")
    assert code == 2
    assert "--against: names several packed models" in err


def test_a_run_leaves_torchs_compiler_unimported(tiny: list[str], tmp_path: Path) -> None:
    """torch imports its compiler, which takes a second, in many calls that compile nothing."""
    code = """if True:
        import sys
        from pgolf.train import main
        main(sys.argv[1:])
        print({"torch._dynamo", "sympy"} & {*sys.modules})
    """
    words = [sys.executable, "-c", code, *tiny, "train.steps=6", "train.val_every=3"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert [record["status"] for _, record in records(tmp_path)] == ["ok"]
