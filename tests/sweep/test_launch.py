"""What the command makes of what a launcher raises."""

import errno
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from pgolf import train
from pgolf.config.preflight import CommandLine
from pgolf.config.schema import Config, PathsConfig
from pgolf.errors import PgolfError
from pgolf.sweep.runs import Run

Launch = Callable[[BaseException, str], None]


@pytest.fixture
def launch_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """A sweep of one job whose launcher raises an exception."""
    run = Run(Config(paths=PathsConfig(str(tmp_path))), {"study": "adhoc"}, tmp_path / "run", "seed=1")

    def launch(error: BaseException, launcher: str) -> None:
        def launch_all(runs: Sequence[Run], whole: DictConfig) -> None:
            raise error

        monkeypatch.setattr(train, "launch_all", launch_all)
        whole = OmegaConf.create({"hydra": {"launcher": {"_target_": launcher}}})
        train.run_jobs([run], CommandLine((), True, whole))

    return launch


def test_a_disk_that_refuses_hydra_is_named(launch_that_raises: Launch, tmp_path: Path) -> None:
    """Hydra writes a file of its own before the first job; its error names no file."""
    with pytest.raises(PgolfError, match=rf"^no space left on /.* \({tmp_path}/adhoc\)$"):
        launch_that_raises(OSError(errno.ENOSPC, "No space left on device"), "basic")


def test_a_job_that_was_killed_is_told_in_a_line(
    launch_that_raises: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch_that_raises(BrokenProcessPool("A process was\nterminated"), "joblib")
    said = "concurrent: a job did not end by itself (BrokenProcessPool: A process was terminated)\n"
    assert capsys.readouterr().err == said


def test_an_interrupt_says_that_jobs_of_a_scheduler_go_on(
    launch_that_raises: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        launch_that_raises(KeyboardInterrupt(), "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher")
    assert capsys.readouterr().err == "jobs that submitit was given go on; the same command waits for them\n"


def test_a_fault_of_ours_is_raised(launch_that_raises: Launch) -> None:
    with pytest.raises(ZeroDivisionError):
        launch_that_raises(ZeroDivisionError(), "basic")
