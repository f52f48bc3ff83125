"""Sweeps: every job a process of its own, one killed job one row."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from run_folders import Command, records


def test_a_sweep_runs_every_cell(command: Command, tiny: list[str], tmp_path: Path) -> None:
    done = command("pgolf.train", "--multirun", "model/q_proj=full,low_rank", "quant=none,int6_zstd", *tiny, "train.steps=4")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [record for _, record in records(tmp_path)]
    assert {(r["choices.model/q_proj"], r["choices.quant"]) for r in found} == {
        (q, b) for q in ("full", "low_rank") for b in ("none", "int6_zstd")
    }
    assert {r["status"] for r in found} == {"ok"}
    assert {r["threads"] for r in found} == {1}
    by_quant = {(r["choices.model/q_proj"], r["choices.quant"]): r for r in found}
    assert by_quant["full", "none"]["val_bpb_live"] == by_quant["full", "int6_zstd"]["val_bpb_live"], "one seed, one training"
    assert by_quant["full", "none"]["quant_gap_bpb"] == 0
    again = command("pgolf.train", "--multirun", "model/q_proj=full,low_rank", "quant=none,int6_zstd", *tiny, "train.steps=4")
    assert again.returncode == 0
    assert "4 already run, 0 to run" in again.stdout


def worker_of(supervisor: int, seconds: float) -> int:
    """The process id of the first worker that a supervisor starts."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines()[1:]:
            pid, parent, command = line.split(None, 2)
            if int(parent) == supervisor and "pgolf.worker" in command:
                return int(pid)
        time.sleep(0.05)
    raise AssertionError("no worker was started")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_job_costs_one_row(tiny: list[str], tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pgolf.train", "--multirun", "seed=1,2", *tiny]
    sweep = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.kill(worker_of(sweep.pid, 60), signal.SIGKILL)
    out, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 1, out + err
    found = {record["seed"]: (folder, record) for folder, record in records(tmp_path)}
    folder, killed = found[1]
    assert killed["status"] == "failed"
    assert "SIGKILL" in killed["error"]
    assert found[2][1]["status"] == "ok"
    assert "1 of 2 runs did not end well" in err
    assert str((folder / "error.txt").relative_to(tmp_path)) in err
    assert (folder / "error.txt").exists()


def test_an_error_in_a_job_is_listed_with_its_traceback(command: Command, tiny: list[str], tmp_path: Path) -> None:
    done = command("pgolf.train", "--multirun", "train.seq_len=32,4096", *tiny[:5], *tiny[6:], "train.batch_tokens=8192", "train.steps=2")
    assert done.returncode in (0, 1), done.stderr
    assert all(record["status"] == "ok" for _, record in records(tmp_path)) == (done.returncode == 0)
