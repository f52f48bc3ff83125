"""Full disks and folders that cannot be written: a clear error, no partly written file, and the command can resume."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pgolf.config.compose import save
from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.shards import write_shard
from pgolf.errors import PgolfError
from pgolf.execution.execute import describe_error
from pgolf.pages.figures.export import Picture, write_png
from pgolf.quant.container import write_container
from pgolf.records.plan import Sweep, add_to_plan
from pgolf.records.record import write_record
from pgolf.records.rows import write_out
from pgolf.study.description import Study, write_study
from pgolf.training.checkpoint import WEIGHTS, Checkpoints, save_weights
from pgolf.training.runlog import RunLog
from run_folders import records

Train = Callable[[list[str]], int]
Capture = pytest.CaptureFixture[str]


def mount(folder: Path, *options: str) -> bool:
    try:
        return (
            subprocess.run(
                ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "-o", "size=1m"):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(train_here: Train, tiny: list[str], small_disk: Path, capsys: Capture) -> None:
    run = ["seed=1", *tiny, f"paths.out={small_disk}", "launch.checkpoint_s=0"]
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * (1024 - 64)))
    assert train_here(["--multirun", *run]) == 1
    said = capsys.readouterr().err
    assert f"failed: no space left on {small_disk} (" in said, "the place stands before the name of the file"
    assert "Traceback" not in said
    assert all(record["status"] == "failed" for _, record in records(small_disk))
    assert not [path for path in small_disk.rglob("*") if "partial" in path.name]
    ballast.unlink()
    assert train_here(run) == 0
    assert [record["status"] for _, record in records(small_disk)] == ["ok"]


def write_artifact(disk: Path) -> None:
    write_container(disk / "artifact.pgolf", {}, {}, "zlib", 9)


def write_lines_of_a_run(disk: Path) -> None:
    with RunLog(disk, is_first=True) as log:
        log.event("train", step=1)


def write_log_of_a_run(disk: Path) -> None:
    with RunLog(disk, is_first=True) as log:
        log.say("a line")


def write_corpus(disk: Path) -> None:
    def make(folder: Path) -> dict[str, object]:
        write_shard(folder / "val.bin", np.arange(9))
        return {}

    prepare_entry(disk, "text", {}, make)


def write_picture(disk: Path) -> None:
    write_png(Picture("bytes", "title", "text", Figure(figsize=(1, 1))), disk)


STUDY = Study("mine", "why?", "nowhere", "cpu", "welch", 0.01, ())
WRITERS: dict[str, Callable[[Path], object]] = {
    "config.yaml": lambda disk: save({"seed": 1}, disk / "config.yaml"),
    "metrics.jsonl": write_lines_of_a_run,
    "train.log": write_log_of_a_run,
    "weights.safetensors": lambda disk: save_weights(disk, WEIGHTS, {"a": torch.zeros(9)}),
    "artifact.pgolf": write_artifact,
    "result.json": lambda disk: write_record(disk, {"status": "ok"}),
    "sweep.json": lambda disk: add_to_plan(disk, Sweep((), 0.0, "", False, ())),
    "study.json": lambda disk: write_study(disk, STUDY),
    "a corpus": write_corpus,
    "report.html": lambda disk: write_out(disk / "report.html", ["<p>"]),
    "a picture": write_picture,
}


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that has space for file names, but not for content."""
    folder = tmp_path_factory.mktemp("disk")
    if not mount(folder, "-o", "size=64k"):
        pytest.skip("needs the right to mount a tmpfs")
    (folder / "checkpoint").mkdir()
    (folder / "ballast").write_bytes(bytes(64 * 1024))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_reports_a_full_disk_and_leaves_no_content(name: str, full_disk: Path) -> None:
    before = {path for path in full_disk.rglob("*") if path.is_file()}
    with pytest.raises((PgolfError, OSError)) as caught:
        WRITERS[name](full_disk)
    said = describe_error(caught.value, full_disk)
    assert said.startswith(f"no space left on {full_disk} ({full_disk}")
    assert "\n" not in said
    left = {path for path in full_disk.rglob("*") if path.is_file()} - before
    assert all(path.stat().st_size == 0 for path in left), "of an open log, or a lock"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_terminal_that_cannot_be_written_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        with RunLog(tmp_path, is_first=True) as log:
            log.say("a line")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert (tmp_path / "train.log").read_text() == "a line\n"


def test_a_folder_deleted_during_a_run_fails_that_run(
    train_here: Train, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    real = Checkpoints.save

    def save_and_lose(self: Checkpoints, state: dict[str, Any]) -> None:
        shutil.rmtree(tmp_path / "multirun", ignore_errors=True)
        real(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_lose)
        assert train_here([*tiny, "train.steps=2", "launch.checkpoint_s=0"]) == 1
    said = capsys.readouterr()
    assert "the run continues without checkpoints" in said.out
    assert "result.json: No such file or directory" in said.err
    assert "Traceback" not in said.out + said.err
    assert train_here([*tiny, "train.steps=2"]) == 0


def test_a_disk_too_small_for_checkpoints_does_not_fail_the_run(
    train_here: Train, tiny: list[str], small_disk: Path, capsys: Capture
) -> None:
    ballast = small_disk / "ballast"
    # A checkpoint has 0.5 MB, the other files of a run 0.1 MB.
    ballast.write_bytes(bytes(1024 * (1024 - 300)))
    argv = [*tiny, "train.steps=6", f"paths.out={small_disk}", "launch.checkpoint_s=0", "launch.keep_weights=false"]
    assert train_here(argv) == 0
    assert "the run continues without checkpoints" in capsys.readouterr().out
    ((folder, record),) = records(small_disk)
    assert record["warnings"] == ["no checkpoint could be written: No space left on device"]
    assert not list((folder / "checkpoint").glob("*"))


def test_a_read_only_folder(train_here: Train, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "-o", "ro,size=1m"):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        for flags in ([], ["--multirun", "seed=1,2"]):
            assert train_here([*flags, *tiny, f"paths.out={folder}"]) == 2
            assert f"paths.out: cannot write to {folder}" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_plan_that_cannot_be_read(train_here: Train, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    plan = tmp_path / "multirun" / "adhoc" / "sweep.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{")
    assert train_here(["--multirun", "seed=1,2", *tiny]) == 2
    assert "sweep.json: it is not JSON" in capsys.readouterr().err
    assert plan.read_text() == "{"
