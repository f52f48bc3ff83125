"""How pgolf.train handles exceptions of a launcher."""

import errno
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from pgolf.config.command_line import CommandLine
from pgolf.config.schema import Config, PathsConfig
from pgolf.errors import PgolfError
from pgolf.sweep import execution
from pgolf.sweep.runs import Run

Launch = Callable[[BaseException, str], None]


@pytest.fixture
def launch_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """A sweep of one job whose launcher raises an exception."""
    run = Run(Config(paths=PathsConfig(str(tmp_path))), {"study": "adhoc"}, tmp_path / "run", "seed=1")

    def launch(error: BaseException, launcher: str) -> None:
        def launch_all(runs: Sequence[Run], whole: DictConfig) -> None:
            raise error

        monkeypatch.setattr(execution, "launch_all", launch_all)
        whole = OmegaConf.create({"hydra": {"launcher": {"_target_": launcher}}})
        execution.run_jobs([run], CommandLine((), True, whole))

    return launch


def test_a_disk_that_refuses_hydra_is_named(launch_that_raises: Launch, tmp_path: Path) -> None:
    """Hydra writes a file before the first job; an OSError about it does not name the file."""
    with pytest.raises(PgolfError, match=rf"^no space left on /.* \({tmp_path}/adhoc\)$"):
        launch_that_raises(OSError(errno.ENOSPC, "No space left on device"), "basic")


def test_a_killed_job_is_reported_in_one_line(launch_that_raises: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    launch_that_raises(BrokenProcessPool("A process was\nterminated"), "joblib")
    message = "concurrent: a job ended abnormally (BrokenProcessPool: A process was terminated)\n"
    assert capsys.readouterr().err == message


def test_an_interrupt_reports_that_jobs_of_a_scheduler_continue(
    launch_that_raises: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        launch_that_raises(KeyboardInterrupt(), "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher")
    assert capsys.readouterr().err == "jobs that submitit has started continue; the same command waits for them\n"


def test_a_bug_is_raised(launch_that_raises: Launch) -> None:
    with pytest.raises(ZeroDivisionError):
        launch_that_raises(ZeroDivisionError(), "basic")
