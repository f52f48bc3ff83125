"""The runner that all commands share, and some commands as processes of their own."""

import errno
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from made_records import STUDY, put, record, study_of
from pgolf import status, train
from pgolf.command import FAILED, INTERRUPTED, OK, REFUSED, Parser, run
from pgolf.config.command_line import preflight
from pgolf.config.folders import conf_dir
from pgolf.errors import ConfigError, DataError

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("a: b (c)", "d\ne\x1b[0m: f"), REFUSED, ["a: b (c)", r"d\ne\x1b[0m: f"]),
        (DataError("x: y\nz"), REFUSED, ["x: y", "z"]),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "gone"),
            REFUSED,
            ["gone: No such file or directory"],
        ),
        (OSError(errno.ENOSPC, "No space left on device"), REFUSED, ["no space left on the file system"]),
        (KeyboardInterrupt(), INTERRUPTED, ["interrupted"]),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), FAILED, []),
        (SystemExit(0), OK, []),
        (ConfigError("k: " + "v" * 5000 + " end"), REFUSED, None),
    ],
)
def test_all_commands_report_errors_in_the_same_way(
    error: BaseException, code: int, said: list[str] | None, capsys: Capture
) -> None:
    def command(_: list[str]) -> int:
        raise error

    assert run(command, []) == code
    lines = capsys.readouterr().err.splitlines()
    if said is None:
        assert len(lines) == 1
        assert len(lines[0]) <= 1000
        assert lines[0].endswith(" end")
    else:
        assert lines == said


def test_a_bug_keeps_its_traceback() -> None:
    def command(_: list[str]) -> int:
        raise AssertionError("impossible")

    with pytest.raises(AssertionError):
        run(command, [])


def test_a_parser_takes_no_abbreviation(capsys: Capture) -> None:
    def command(arguments: list[str]) -> int:
        parser = Parser(prog="x")
        parser.add_argument("--verbose", action="store_true")
        return OK if parser.parse_args(arguments) else FAILED

    assert run(command, ["--verbose"]) == OK
    assert run(command, ["--help"]) == OK
    assert "usage: x" in capsys.readouterr().out
    assert run(command, ["--verb"]) == REFUSED
    assert capsys.readouterr().err == "x: --verb: no such option. Did you mean --verbose? Options: --help, --verbose\n"


def test_names_are_shown_as_text(tmp_path: Path, capsys: Capture) -> None:
    study = study_of(tmp_path, {"tied": [2.0]})
    put(study, {**record("tied", 1, None), "status": "failed", "error": "[/red] [bold]x\x1b[31m"})
    shown = {**status.report(study), "study": "[/] \x1b[0m"}
    shown["cells"][0] |= {"arm": "[red]arm[/]", "overrides": None}
    status.show(shown, Console(width=160, no_color=True))
    said = capsys.readouterr().out
    assert "[red]arm[/]" in said
    assert "[/red] [bold]x" in said
    assert "[/] [0m: 1 run" in said
    assert "\x1b" not in said


def test_watching_ends_when_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    study = study_of(tmp_path, {"tied": [2.0, 2.5], "mos": [1.9]})
    monkeypatch.setattr(status, "IDLE_S", 0.0)
    assert status.main([str(study), "--watch"]) == 0
    assert capsys.readouterr().out == f"{study}: 4 runs: 3 ok, 1 waiting\n"
    assert status.main([str(study), "--watch", "--json"]) == 2
    assert "--watch: is a view for a terminal" in capsys.readouterr().err


def test_watching_waits_for_a_sweep_that_is_being_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    study = tmp_path / STUDY
    monkeypatch.setattr(status.time, "sleep", lambda _: study.exists() or study_of(tmp_path, {"tied": [2.0]}))
    assert status.main([str(study), "--watch"]) == 0
    assert capsys.readouterr().out == f"waiting for a sweep in {study}\n{study}: 1 run: 1 ok\n"
    monkeypatch.setattr(status, "IDLE_S", 0.0)
    assert status.main(["gone", "--watch"]) == 2
    assert "gone: does not exist" in capsys.readouterr().err


def test_equal_runs_are_announced_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(["--multirun", "seed=1,2,1", "launch.dry_run=true", "model.layers=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 runs in multirun/adhoc; nothing is started"
    assert lines[1] == "  seed=1: given 2 times, runs once"
    assert [line.split("  ")[0] for line in lines[2:4]] == ["1/2", "2/2"]
    assert list(tmp_path.iterdir()) == []


def test_a_launcher_chosen_in_a_study_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    (conf / "hydra" / "launcher").mkdir(parents=True)
    basic = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    (conf / "hydra" / "launcher" / "mine.yaml").write_text(f"_target_: {basic}\nspeed: 3\n")
    text = (
        (conf / "study" / "adhoc.yaml")
        .read_text()
        .replace("study:\n", "defaults:\n  - override /hydra/launcher: mine\n\nstudy:\n", 1)
    )
    (conf / "study" / "mine.yaml").write_text(text.replace("name: adhoc", "name: mine"))
    monkeypatch.setattr("pgolf.config.compose.conf_dir", lambda: conf)
    line = preflight(["study=mine", "hydra.launcher.speed=4"], multirun=True)
    assert line.whole.hydra.launcher._target_ == basic
    assert line.whole.hydra.launcher.speed == 4
    assert line.runs[0].cfg.study.name == "mine"


def python(*words: str, cwd: Path, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False, **settings
    )  # type: ignore[call-overload]


PROCESSES: list[tuple[Sequence[str], int, str]] = [
    (["-m", "pgolf"], 2, "usage: pgolf {train,"),
    (["-m", "pgolf", "trian"], 2, "pgolf: no such command (trian). Did you mean train? Commands: train,"),
    (["-m", "pgolf", "status", "--jsn"], 2, "python -m pgolf.status: --jsn: no such option. Did you mean --json?"),
    (["-m", "pgolf.train", "--multrun"], 2, "python -m pgolf.train: --multrun: no such option. Did you"),
]


@pytest.mark.parametrize(
    ("words", "code", "said"), PROCESSES, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else ""
)
def test_commands_as_processes(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    began = time.monotonic()
    ended = python(*words, cwd=tmp_path)
    assert time.monotonic() - began < 30, "a busy machine needs some seconds for the imports alone"
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(said)
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable.encode(), b"-m", b"pgolf.status", b"\xff"], cwd=tmp_path, capture_output=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"argument 1: is not UTF-8 (\\udcff)")


def test_hydras_own_help(main_of: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = main_of(train, "--hydra-help")
    assert code == 0
    assert "== Flags ==" in out
    assert err == ""


def test_a_closed_pipe_prevents_no_file(tmp_path: Path) -> None:
    study = study_of(tmp_path, {f"arm{n}": [2.0, 2.1, 2.2] for n in range(40)})
    with subprocess.Popen(
        [sys.executable, "-m", "pgolf.aggregate", str(study)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1
    assert (study / "table.md").exists()


def test_an_output_that_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    study_of(tmp_path, {"tied": [2.0]})
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "pgolf.status", "heads", "--json"]
        ended = subprocess.run(words, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "no space left on the file system\n"
