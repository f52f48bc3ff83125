"""A disk that is full, a folder that cannot be written: a clear error, nothing half-written, and the same command goes on afterwards."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from run_folders import records

Train = Callable[[list[str]], int]
Capture = pytest.CaptureFixture[str]


def mount(folder: Path, *options: str) -> bool:
    try:
        return subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False).returncode == 0
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
    argv = ["--multirun", "seed=1", *tiny, "train.steps=12", f"paths.out={small_disk}", "launch.checkpoint_s=0"]
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * (1024 - 64)))
    assert train_here(argv) == 1
    said = capsys.readouterr().err
    assert "no space left on " in said
    assert "Traceback" not in said
    assert all(record["status"] == "failed" for _, record in records(small_disk))
    assert not [path for path in small_disk.rglob("*") if "partial" in path.name]
    ballast.unlink()
    assert train_here(argv) == 0
    assert [record["status"] for _, record in records(small_disk)] == ["ok"]


def test_a_disk_too_small_for_checkpoints_costs_these_alone(train_here: Train, tiny: list[str], small_disk: Path, capsys: Capture) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * (1024 - 300)))  # a checkpoint has half a megabyte, a run's other files a tenth of one
    argv = [*tiny, "train.steps=6", f"paths.out={small_disk}", "launch.checkpoint_s=0", "launch.keep_weights=false"]
    assert train_here(argv) == 0
    assert "the run goes on without checkpoints" in capsys.readouterr().out
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
    assert "sweep.json: is no readable plan of sweeps" in capsys.readouterr().err
    assert plan.read_text() == "{"
