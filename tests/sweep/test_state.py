"""What the next command of a configuration does, depending on the content of its run folder."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgolf.config.command_line import compose_one
from pgolf.config.identity import arm_name
from pgolf.records.arm_names import folder_of_arm
from pgolf.records.record import read_record
from pgolf.sweep.state import lock_run_folder, plan_run
from run_folders import records

Train = Callable[[list[str]], int]
Capture = pytest.CaptureFixture[str]


def test_a_long_name_of_an_arm_is_cut_by_bytes() -> None:
    names = {arm_name([f"data.path='{'文' * 100}{end}'", "model/head=mos", "seed=1"]) for end in "ab"}
    assert len(names) == 2, "the hash tells what was cut off"
    for name in names:
        assert name.startswith("head=mos,data.path=文文")
        assert len(name.encode()) <= 129
        assert len(folder_of_arm(name).encode()) <= 60


def test_a_folder_has_a_short_name_and_an_earlier_one_of_the_whole_name_is_continued(tmp_path: Path) -> None:
    overrides = "eval=plain eval.max_targets=20000 model/head=mos train.steps=9 optim.roles.head.lr=0.01 model.width=64"
    run = compose_one([*overrides.split(), f"paths.out={tmp_path}"])
    planned = plan_run(run, in_sweep=False)
    arm = planned.identity["arm"]
    assert arm == arm_name(overrides.split())
    assert re.fullmatch(r"head=mos,model\.width=64,\.\.\.-[0-9a-f]{8}", planned.folder.parent.name)
    assert folder_of_arm("head=mos") == "head=mos"
    (tmp_path / "adhoc" / arm).mkdir(parents=True)
    assert plan_run(run, in_sweep=False).folder == tmp_path / "adhoc" / arm / planned.folder.name


def change(folder: Path, **fields: Any) -> None:
    """Change fields of a record. A value that is a function is applied to the old value."""
    path = folder / "result.json"
    record = json.loads(path.read_text())
    for key, value in fields.items():
        record[key] = value(record[key]) if callable(value) else value
    path.write_text(json.dumps(record))


@pytest.fixture
def ran(
    train_here: Train, tiny: list[str], tmp_path: Path, capsys: Capture
) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """A function that runs the tiny configuration, and returns its only run folder and record."""

    def run(*more: str, code: int = 0) -> tuple[Path, dict[str, Any]]:
        assert train_here([*tiny, "train.steps=6", *more]) == code
        ((folder, record),) = records(tmp_path)
        return folder, record

    return run


def test_the_state_follows_from_the_run_folder(ran: Callable[..., Any], capsys: Capture) -> None:
    folder, first = ran()
    says_where_it_comes_from(first)
    capsys.readouterr()
    assert ran() == (folder, first)
    message = capsys.readouterr().out
    assert "already run (launch.rerun=true runs it again)" in message
    assert f"{first['val_bpb']:.4f}" in message
    _, again = ran("launch.rerun=true")
    assert read_record(folder / "earlier-1") == first
    assert again["val_bpb"] == first["val_bpb"]

    def older(lines: list[str]) -> list[str]:
        return [
            f"{line.split()[0]} {'0' * 12}" if line.startswith(("training/loop.py", "eval/score.py")) else line
            for line in lines
        ]

    change(folder, code_files=older)
    assert ran("launch.keep_older_code=true")[1]["ended_at"] == again["ended_at"]
    assert "already run" in capsys.readouterr().out
    _, second = ran()
    assert "again: code changed (eval/score.py, training/loop.py)" in capsys.readouterr().out
    assert second["ended_at"] > again["ended_at"]
    assert second["val_bpb"] == first["val_bpb"]

    change(folder, status="failed", error="for this test")
    assert ran()[1]["status"] == "ok"
    assert "again: it failed" in capsys.readouterr().out
    change(folder, status="interrupted", error="for this test")
    assert ran()[1]["status"] == "ok"
    assert "again: it was interrupted" in capsys.readouterr().out

    change(folder, status="diverged", error="the training loss is nan at step 3")
    assert ran(code=1)[1]["status"] == "diverged", "a diverged run is finished"
    assert "diverged" in capsys.readouterr().err

    change(folder, fingerprint="f" * 16)
    before = (folder / "result.json").read_bytes()
    ran(code=2)
    assert "is the record of another run (fingerprint ffffffffffffffff" in capsys.readouterr().err
    assert (folder / "result.json").read_bytes() == before


def says_where_it_comes_from(record: dict[str, Any]) -> None:
    for key in (
        "git_sha",
        "git_dirty",
        "git_diff_sha",
        "versions.torch",
        "device",
        "threads",
        "data_sha",
        "code_sha",
        "seed",
        "ended_at",
    ):
        assert key in record
    assert record["config.model.width"] == 32
    assert record["config.data.vocab_size"] == 384
    assert not any(key.startswith(("config.launch", "config.paths", "config.study", "config.seed")) for key in record)
    assert all(len(line.split()) == 2 for line in record["code_files"])


def test_changed_data_runs_again(train_here: Train, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    source = Path(next(text for text in tiny if text.startswith("data.path=")).partition("=")[2])
    book = tmp_path / "book.txt"
    book.write_text(source.read_text()[:200_000])
    argv = [*tiny, "train.steps=6", f"data.path={book}"]
    assert train_here(argv) == 0
    book.write_text(source.read_text()[:180_000])
    capsys.readouterr()
    assert train_here(argv) == 0
    assert "again: data changed" in capsys.readouterr().out
    ((folder, record),) = records(tmp_path)
    assert record["data_sha"] != json.loads((folder / "earlier-1" / "result.json").read_text())["data_sha"]


def test_a_changed_default_is_named(ran: Callable[..., Any], tmp_path: Path, capsys: Capture) -> None:
    folder, _ = ran()
    folder.rename(folder.with_name("seed1-00000000"))
    change(folder.with_name("seed1-00000000"), fingerprint="0" * 16, **{"config.optim.roles.head.lr": 0.123})
    capsys.readouterr()
    with pytest.raises(ValueError, match="too many values"):
        ran()
    assert (
        "again: configuration changed since seed1-00000000 (optim.roles.head.lr 0.123 -> 0.008)"
        in capsys.readouterr().out
    )


def test_a_run_folder_is_locked_once(tmp_path: Path) -> None:
    from pgolf.records.sweep_state import is_held

    with lock_run_folder(tmp_path / "run", "label"):
        assert is_held(tmp_path / "run")
    assert not is_held(tmp_path / "run")
