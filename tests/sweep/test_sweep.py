"""Sweeps: every job a process of its own, whatever happens to one costs one row, and every cell is run once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgolf import status
from pgolf.config.folders import CONFIG_DIR, conf_dir
from pgolf.records.plan import planned_runs, read_plan
from pgolf.records.validation import record_problem
from run_folders import records

Train = Callable[[list[str]], int]
MainOf = Callable[..., tuple[int, str, str]]
Capture = pytest.CaptureFixture[str]
BAD = """
import os, signal, sys
from pgolf.quant.unquantized import Unquantized

class Exits(Unquantized):
    def encode(self, name, tensor):
        sys.exit("left")

class Raises(Unquantized):
    def encode(self, name, tensor):
        return bytearray(2**62)

class Dies(Unquantized):
    def encode(self, name, tensor):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def of_steps(tiny: list[str], steps: int) -> list[str]:
    """Overrides that give a single run and a job of a sweep one folder: no key is there twice."""
    return [*(text for text in tiny if not text.startswith("train.steps=")), f"train.steps={steps}"]


def test_a_sweep_executes_every_run(
    train_here: Train, main_of: MainOf, tiny: list[str], tmp_path: Path, capsys: Capture
) -> None:
    sweep = ["quant=none,int8_zlib", "--multirun", *tiny, "train.steps=4", "train.threads=auto"]
    assert train_here(sweep) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [record for _, record in records(tmp_path)]
    assert {r["choices.quant"] for r in found} == {"none", "int8_zlib"}
    assert {r["status"] for r in found} == {"ok"}
    assert [record_problem(r) for r in found] == [None, None], "a fresh record contradicts itself nowhere"
    assert {r["threads"] for r in found} == {1}
    by_quant = {r["choices.quant"]: r for r in found}
    assert by_quant["none"]["val_bpb_live"] == by_quant["int8_zlib"]["val_bpb_live"], "one seed, one training"
    assert by_quant["none"]["quant_gap_bpb"] == 0
    assert lines[0] == "2 runs in multirun/adhoc: 0 already run, 2 to run"
    ends = [line for line in lines if not line.startswith("running: ")][1:-1]  # a slow machine says what runs, too
    assert [line.split("]")[0] for line in ends] == ["[1/2", "[2/2"]
    assert lines[-1] == "python -m pgolf.aggregate multirun/adhoc makes a table of them"
    assert "quant=none: val_bpb" in ends[0]
    assert "left" in ends[0]
    assert train_here(sweep) == 0
    assert "2 already run, 0 to run" in capsys.readouterr().out
    planned = planned_runs(read_plan(tmp_path / "multirun" / "adhoc"))
    assert {cell.tokens for cell in planned} == {r["tokens"] for r in found}, "the budget of the plan"
    assert {(cell.arm, cell.fingerprint) for cell in planned} == {(r["arm"], r["fingerprint"]) for r in found}
    (told,) = json.loads(main_of(status, "--json")[1])
    assert told["count"] == {"ok": 2}
    assert told["left_s"] is None


def test_status_names_what_it_was_given(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys, "argv", ["pgolf.status", "elsewhere"])
    assert status.main() == 2
    assert "elsewhere: does not exist. Give the folder of a study" in capsys.readouterr().err


def test_a_bad_job_costs_one_row(
    train_here: Train, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    group = tmp_path / "conf" / "quant"
    group.mkdir(parents=True)
    sound = (conf_dir() / "quant" / "none.yaml").read_text()
    for name in ("Exits", "Raises", "Dies"):
        (group / f"{name.lower()}.yaml").write_text(sound.replace("pgolf.quant.unquantized.Unquantized", f"bad.{name}"))
    options = ["--config-dir", str(tmp_path / "conf"), *tiny, "train.steps=4"]
    monkeypatch.setenv(CONFIG_DIR, "")  # what --config-dir sets is undone after the test
    assert train_here([*options, "quant=raises"]) == 1, "in this process"
    sweep = [*options, "--multirun", "quant=exits,dies,none"]
    capsys.readouterr()
    assert train_here(sweep) == 1
    said = capsys.readouterr().err
    found = {record["config.quant._target_"].split(".")[-1]: (folder, record) for folder, record in records(tmp_path)}
    assert {name: record["status"] for name, (_, record) in found.items()} == {
        "Exits": "failed",
        "Raises": "failed",
        "Dies": "failed",
        "Unquantized": "ok",
    }
    assert found["Exits"][1]["error"] == "SystemExit: left"
    assert "MemoryError" in found["Raises"][1]["error"]
    assert "SIGKILL" in found["Dies"][1]["error"]
    assert "2 of 3 runs failed" in said
    for name in ("Exits", "Raises", "Dies"):
        folder, record = found[name]
        assert name == "Raises" or str((folder / "error.txt").relative_to(tmp_path)) in said
        assert (folder / "error.txt").exists()
        assert record["git_sha"] is not None or record["git_dirty"] is None
        assert record["threads"] == 1
    assert train_here([*sweep, "launch.fail_fast=true"]) == 1
    said = capsys.readouterr().out
    assert "3 runs in multirun/adhoc: 1 already run, 2 to continue, 0 to run" in said
    assert said.count("failed:") == 1, "after the first failure no other run starts"


def test_a_rerun_is_one_run_a_cell_and_goes_on_where_it_was_stopped(
    train_here: Train, tiny: list[str], tmp_path: Path, capsys: Capture
) -> None:
    options = of_steps(tiny, 4)
    assert train_here(["model.rope_base=10000", *options]) == 0
    sweep = ["--multirun", "model.rope_base=10000,1e4", *options]
    capsys.readouterr()
    assert train_here(sweep) == 0
    assert "1 already run, 0 to run" in capsys.readouterr().out
    planned = planned_runs(read_plan(tmp_path / "multirun" / "adhoc"))
    assert len({cell.arm for cell in planned}) == 2, "cells that resolve alike run once, under two names"
    assert len({cell.folder for cell in planned}) == 1
    assert train_here([*sweep, "launch.rerun=true"]) == 0
    ((folder, _),) = records(tmp_path)
    assert len(list(folder.glob("earlier-*"))) == 1, "once, though it is planned twice"
    since = max(s.rerun_since or 0 for s in read_plan(tmp_path / "multirun" / "adhoc"))
    path = folder / "result.json"
    # As if the re-run had been killed before it.
    path.write_text(json.dumps({**json.loads(path.read_text()), "ended_at": since - 1}))
    capsys.readouterr()
    assert train_here([*sweep, "launch.rerun=true"]) == 0
    assert "0 already run, 1 to run" in capsys.readouterr().out
    assert [s.rerun_since for s in read_plan(tmp_path / "multirun" / "adhoc")][-1] == since, (
        "it goes on with the same re-run"
    )
    path.write_text("{")
    assert train_here(sweep) == 1, "a damaged record costs its own row"
    said = capsys.readouterr()
    assert "0 already run, 1 that cannot be run, 0 to run" in said.out
    assert "result.json: it is not JSON" in said.err


def test_odd_sweeps(train_here: Train, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert train_here(["--multirun", "seed=range(1,1)", *tiny]) == 2
    assert "seed: sweeps over no value (range(1,1))" in capsys.readouterr().err
    assert train_here(["--multirun", "--cfg", "job", "seed=1,2"]) == 2
    assert "--multirun: cannot be given together with --cfg" in capsys.readouterr().err
    assert train_here(["train.from=a/b=c,a/b=d"]) == 2
    assert "train.from: more than one value" in capsys.readouterr().err
    for named in ("study.arm=../x", "study.name=-2+3"):  # the second is a formula to a spreadsheet
        assert train_here([named, *tiny]) == 2
        assert f"{named.split('=')[0]}: must be the name of a folder" in capsys.readouterr().err
    assert train_here([f"study.name='{'文' * 61}'", *tiny]) == 2
    assert "study.name: must have at most 180 bytes, and has 183" in capsys.readouterr().err
    argv = ["study.name=mine", *of_steps(tiny, 4), "model.head.rank=8"]
    assert train_here([*argv, f"paths.out={tmp_path / 'a'}", "model/head=factorized"]) == 0
    capsys.readouterr()
    argv += ["--multirun", f"paths.out={tmp_path / 'a'},{tmp_path / 'b'}"]
    argv += ["model/head=choice(factorized)"]  # a rank has no place in the default choice
    assert train_here(argv) == 0
    assert "1 already run, 1 to run" in capsys.readouterr().out
    assert len(list(records(tmp_path / "a" / "mine"))) == len(list(records(tmp_path / "b" / "mine"))) == 1


def test_two_sweeps_at_once_execute_each_run_once(train_here: Train, tiny: list[str], tmp_path: Path) -> None:
    argv = ["--multirun", "seed=1,2", *tiny, "train.steps=12"]
    with start(argv, tmp_path) as other:
        wait_for(lambda: list(tmp_path.rglob("sweep.json")), "the other sweep has not begun")
        code = train_here(argv)
        out, err = other.communicate(timeout=240)
    assert (code, other.returncode) == (0, 0), out + err
    found = dict(records(tmp_path))
    assert sorted(record["seed"] for record in found.values()) == [1, 2]
    for folder in found:
        assert not list(folder.glob("earlier-*")), "nothing was run twice"
        steps = [json.loads(line).get("step") for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert steps.count(12) == 1


def start(argv: list[str], cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pgolf.train", *argv],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def wait_for(ready: Callable[[], object], otherwise: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)


def test_ctrl_c_says_what_is_left(train_here: Train, tiny: list[str], tmp_path: Path) -> None:
    options = of_steps(tiny, 150)
    assert train_here(["seed=1", *options]) == 0
    sweep = start(["--multirun", "seed=1,2,3", *options], tmp_path)
    wait_for(lambda: list(tmp_path.rglob("seed2-*/metrics.jsonl")), "the second run has not begun")
    sweep.send_signal(signal.SIGINT)
    out, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, out + err
    assert "2 of 3 runs are left; the same command runs them:\n  seed=2\n  seed=3\n" in err
    assert [record["seed"] for _, record in records(tmp_path) if record["status"] == "ok"] == [1]


def test_a_sweep_stops_when_its_code_changes(tiny: list[str], tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2]
    for name in ("pgolf", "conf"):
        shutil.copytree(source / name, tmp_path / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    options, tree = of_steps(tiny, 100), str(tmp_path / "tree")  # the first run is still going when the code changes
    sweep = start(["--multirun", "seed=1,2", *options], tmp_path, PYTHONPATH=tree)
    wait_for(lambda: list(tmp_path.rglob("seed1-*/metrics.jsonl")), "the first run has not begun")
    with (tmp_path / "tree" / "pgolf" / "training" / "loop.py").open("a") as file:
        file.write("# another line\n")
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, out + err
    assert "the code or conf/ changed since the sweep started" in err
    assert "seed=2" in err
    with start(["seed=1", *options], tmp_path, PYTHONPATH=tree) as again:
        out, err = again.communicate(timeout=240)
    assert again.returncode == 0, out + err
    assert "seed=1: again: code changed (training/loop.py)" in out
    assert len({record["code_sha"] for _, record in records(tmp_path)}) == 1
