"""What all tests share: one thread, and runs of a tiny model on a small English text by the real commands."""

import gc
import logging
import os
import pydoc_data.topics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

from run_folders import TINY, Command

# Each module is compiled once for all processes of the tests, also where the environment says to write no bytecode.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish() -> None:
    """Thousands of collected tests live as long as the process: the garbage collector looks at them no more, and seldom
    at the rest.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors gain nothing from more threads, which on a busy machine wait for one another. A run sets its own."""
    import torch  # here and below, not above: the process that hands tests to others needs neither torch nor pgolf

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_stale_handlers() -> Iterator[None]:
    """Hydra's log handlers keep the stream of the test in whose process it configured them, closed after that test."""
    yield
    for logger in (logging.getLogger(), logging.getLogger("hydra")):
        for handler in [each for each in logger.handlers if type(each) is logging.StreamHandler]:
            logger.removeHandler(handler)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes share: a text of about 250 kB, and the cache of its corpus."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    with FileLock(root / "workshop.lock"):
        text = root / "topics.txt"
        if not text.exists():
            topics = sorted(pydoc_data.topics.topics.items())
            text.write_text("\n\n".join(value for _, value in topics)[:250_000], encoding="utf-8")
    return root


@pytest.fixture(scope="session", autouse=True)
def _composed_once(workshop: Path) -> None:
    from tiny import Composed

    Composed.folder = workshop / "composed"
    Composed.folder.mkdir(exist_ok=True)


@pytest.fixture(scope="session")
def tiny(workshop: Path) -> list[str]:
    """Overrides of a run that takes a second or two."""
    return [
        *TINY,
        "data=text",
        f"data.path={workshop / 'topics.txt'}",
        "data.vocab_size=384",
        f"paths.cache={workshop / 'cache'}",
    ]


@pytest.fixture
def train_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    """`python -m pgolf.train` in this process and in an empty folder; returns the exit code."""

    from pgolf import train

    def run(argv: list[str]) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["pgolf.train", *argv])
        return train.main()

    return run


@pytest.fixture
def main_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command's `main` in this process: its exit code, output and errors. A process of its own costs two seconds
    more.
    """

    def run(module: ModuleType, *argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [module.__name__, *argv])
        capsys.readouterr()
        code = module.main()
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def audited_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits start no process."""
    from audits_here import score_here

    score_here(monkeypatch)


@pytest.fixture(scope="session")
def audited_sweep(workshop: Path, tiny: list[str]) -> Path:
    """The folder of a finished sweep of two audited runs; the second has frozen weights. Change only copies of it."""
    from audits_here import TWO_AUDITED, audit_here
    from pgolf import train

    out = workshop / "audited"
    with FileLock(workshop / "audited.lock"), pytest.MonkeyPatch.context() as patch:
        if not out.exists():
            audit_here(patch)
            assert train.main(["--multirun", *tiny, *TWO_AUDITED, f"paths.out={out}"]) == 1, "a rule is broken"
    return out / "adhoc"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A module of pgolf as a process of its own in an empty folder."""

    def run(*argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", *argv], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )

    return run
