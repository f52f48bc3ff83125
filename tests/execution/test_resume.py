"""A run that is stopped goes on from its checkpoint to the same numbers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgolf import rerun
from pgolf.records.record import STATE, read_record
from pgolf.training.checkpoint import read_state
from run_folders import events, records

Train = Callable[[list[str]], int]

FEATURES = [
    "optim/averaging=ema",
    "optim.roles.matrix.momentum_warmup_steps=100",
    "train.qat_below=0.5",
    "data.shuffle_seed=${seed}",
    "train.spectra_every=10",
]
SLOW = [*FEATURES, "train.steps=120", "launch.checkpoint_s=0.05"]


def start(tmp_path: Path, argv: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pgolf.train", *argv]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(folder: Path, steps: int, seconds: float = 90) -> int:
    """Wait until some run below has a checkpoint of so many steps; which step it is."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in folder.rglob("state.pt"):
            state = read_state(path.parent.parent)
            if state is not None and state["trace"]["steps"] >= steps:
                return int(state["trace"]["steps"])
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in two runs of one configuration."""
    clocked = ("_s", "_ms_median", "ended_at", "peak_mem_bytes", "overrides")
    return {key: value for key, value in record.items() if not key.endswith(clocked)}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> tuple[Path, int]:
    """A folder in which a run was killed, and a step that its checkpoint has reached."""
    folder = tmp_path_factory.mktemp("killed")
    run = start(folder, [*tiny, *SLOW])
    step = wait_for_checkpoint(folder, 30)
    run.kill()
    out, err = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL, out + err
    assert list(records(folder)) == []
    return folder, step


def test_a_killed_run_ends_as_an_undisturbed_one(
    train_here: Train,
    tiny: list[str],
    tmp_path: Path,
    killed: tuple[Path, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, step = killed
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert train_here([*tiny, *SLOW]) == 0
    assert "continues at step" in capsys.readouterr().out
    ((run, record),) = records(tmp_path)
    assert train_here([*tiny, *SLOW, f"paths.out={tmp_path / 'undisturbed'}"]) == 0
    ((there, wanted),) = records(tmp_path / "undisturbed")
    assert numbers(record) == numbers(wanted)
    assert (run / "artifact.pgolf").read_bytes() == (there / "artifact.pgolf").read_bytes()
    for kind in ("start", "train", "val", "spectra", "final"):
        assert events(run, kind) == events(there, kind)
    assert sorted({event["step"] for event in events(run, "spectra")}) == list(range(0, 121, 10))
    (continued,) = events(run, "continued")
    assert continued["step"] >= step
    assert not (run / STATE).exists()
    assert read_record(run) is not None


def test_a_run_with_a_damaged_checkpoint_starts_from_the_beginning(
    train_here: Train, tiny: list[str], tmp_path: Path, killed: tuple[Path, int]
) -> None:
    shutil.copytree(killed[0], tmp_path, dirs_exist_ok=True)
    (state,) = tmp_path.rglob("state.pt")
    state.write_bytes(state.read_bytes()[:1000])
    (state.parents[1] / ".result.json.1.partial").touch()  # as a kill in the midst of writing leaves it
    assert train_here([*tiny, *SLOW]) == 0
    ((run, record),) = records(tmp_path)
    assert record["status"] == "ok"
    assert events(run, "continued") == []
    assert (run / "earlier-1" / "metrics.jsonl").exists()
    assert not list(run.rglob("*.partial"))


def test_a_rerun_repeats_the_numbers(
    train_here: Train,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def again(*argv: str) -> int:
        monkeypatch.setattr(sys, "argv", ["pgolf.rerun", *argv])
        return rerun.main()

    assert train_here([*tiny, "train.steps=6"]) == 0
    ((run, record),) = records(tmp_path)
    assert again(str(run)) == 0
    assert "the same numbers" in capsys.readouterr().out
    assert (run / "again-1" / "result.json").exists()
    assert read_record(run) == record, "the old record is untouched"
    same, lines = rerun.verdict({**record, "val_bpb": record["val_bpb"] + 1e-9}, record)
    assert not same
    assert any(line.startswith("val_bpb ") for line in lines)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    assert again(str(run), "--out", "elsewhere") == 2
    assert "--out: is not empty (elsewhere)" in capsys.readouterr().err
    assert again("nowhere") == 2


def test_a_worker_ends_with_its_supervisor(tiny: list[str], tmp_path: Path) -> None:
    sweep = start(
        tmp_path, ["--multirun", "seed=1,2", "launch.nproc=2", *tiny, "train.steps=4000", "launch.checkpoint_s=0.1"]
    )
    wait_for_checkpoint(tmp_path, 1, seconds=120)
    below = [pid for pid, _ in processes(sweep.pid)]
    assert len(below) == 3, "torchrun's agent and two ranks"
    sweep.kill()
    sweep.communicate()
    until = time.monotonic() + 10
    while time.monotonic() < until and any(alive(pid) for pid in below):
        time.sleep(0.05)
    assert not [pid for pid in below if alive(pid)]


def processes(root: int) -> list[tuple[int, str]]:
    """(pid, command) of everything below a process."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [(int(pid), int(parent), args) for pid, parent, args in (line.split(None, 2) for line in listed)]
    found, todo = [], [root]
    while todo:
        level = [(pid, args) for pid, parent, args in rows if parent in todo]
        found += [row for row in level if "pgolf.sweep.worker" in row[1]]
        todo = [pid for pid, _ in level]
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")
