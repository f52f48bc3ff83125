"""Runs that the tests of the audit share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def runs(tiny: list[str], workshop: Path) -> Iterator[Callable[..., Path]]:
    """Folders of finished runs by their overrides. Change only copies of them."""
    from audits_here import finished_runs

    yield from finished_runs(workshop, tiny)


@pytest.fixture
def run(runs: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of the clean run, to be changed."""
    from audits_here import copy_of

    return copy_of(runs(), tmp_path)
