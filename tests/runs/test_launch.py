"""What the command makes of what a launcher raises."""

import errno
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NoReturn

import pytest

from pgolf.cells import Planned
from pgolf.errors import PgolfError
from pgolf.train import hand_over


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def app() -> NoReturn:
        raise error

    return app


def test_a_disk_that_refuses_hydra_is_named(tmp_path: Path) -> None:
    """Hydra writes a file of its own before the first job; its error names no file."""
    job = Planned({"paths": {"out": str(tmp_path)}}, {"study": "adhoc"}, tmp_path / "run", "seed=1")
    with pytest.raises(PgolfError, match=rf"^no space left on /.* \({tmp_path}/adhoc\)$"):
        hand_over(raising(OSError(errno.ENOSPC, "No space left on device")), [job], "basic")


def test_a_job_that_was_killed_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    hand_over(raising(BrokenProcessPool("A process was\nterminated")), [], "joblib")
    said = "concurrent: a job did not come to its end (BrokenProcessPool: A process was terminated)\n"
    assert capsys.readouterr().err == said


def test_an_interrupt_says_that_jobs_of_a_scheduler_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        hand_over(raising(KeyboardInterrupt()), [], "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher")
    assert capsys.readouterr().err == "jobs that submitit was given go on; the same command waits for them\n"


def test_a_fault_of_ours_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        hand_over(raising(ZeroDivisionError()), [], "basic")
