"""Errors and interrupts of every command."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgolf.command import run
from pgolf.errors import PgolfError

Capture = pytest.CaptureFixture[str]


def run_what_raises(error: BaseException | None) -> int:
    def command(arguments: list[str]) -> int:
        if error is not None:
            raise error
        return 5

    return run(command, [])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, 5, ""),
        (PgolfError("a: wrong"), 2, "a: wrong\n"),
        (OSError(errno.EACCES, "Permission denied", "a/b"), 2, "a/b: Permission denied\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_exit_code_and_a_line(error: BaseException | None, code: int, message: str, capsys: Capture) -> None:
    assert run_what_raises(error) == code
    assert capsys.readouterr().err == message


def test_our_own_faults_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_what_raises(ZeroDivisionError())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interrupt_inside_alone(number: signal.Signals, capsys: Capture) -> None:
    def command(arguments: list[str]) -> int:
        os.kill(os.getpid(), number)
        raise AssertionError("not interrupted")

    before = signal.getsignal(number)
    assert run(command, []) == 130
    assert signal.getsignal(number) is before


def test_an_interrupt_during_the_imports_prints_no_traceback(tmp_path: Path) -> None:
    """The first import of the command sends the signal, as a user would in the two seconds that the imports take."""
    (tmp_path / "argparse.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    argv = [sys.executable, "-m", "pgolf.status"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
