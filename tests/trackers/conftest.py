"""Run folders that were not trained, and a config group with the trackers of own_trackers.py."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trackers_folders import add_steps

from pgolf.config.compose import save
from pgolf.config.folders import CONFIG_DIR

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def _found_by_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder with the metrics of four steps and a record, as a run would leave them."""
    folder = tmp_path / "adhoc" / "head=mos" / "seed1-01234567"
    folder.mkdir(parents=True)
    save(
        {"train": {"batch_tokens": 64}, "model": {"head": {"rank": 3}}, "run": {}, "tracker": {}},
        folder / "config.yaml",
    )
    add_steps(folder, 1, 2, 3, 4)
    return folder


@pytest.fixture
def own_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make `tracker=own` available, with a class of own_trackers.py."""

    def make(cls: str) -> None:
        group = tmp_path / "conf" / "tracker"
        group.mkdir(parents=True, exist_ok=True)
        lines = [
            f"_target_: own_trackers.{cls}",
            "_partial_: true",
            'fault: ""',
            "most_share: 0.02",
            "most_wait_s: 120.0",
        ]
        (group / "own.yaml").write_text("\n".join(lines) + "\n")
        monkeypatch.setenv(CONFIG_DIR, str(tmp_path / "conf"))

    return make
