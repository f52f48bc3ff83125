"""Which commands compile their models: long or many runs of one shape, and what finished runs of the command used."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pgolf.config.command_line import preflight
from pgolf.records.record import write_record
from pgolf.run.provenance import code_fields, code_hashes, loaded_code, record_head
from pgolf.sweep import compilation
from pgolf.sweep.compilation import decide_compile
from pgolf.sweep.runs import Run
from pgolf.sweep.state import plan_run


def decided(out: Path, *arguments: str) -> list[Run]:
    """The runs of a command in a folder, with compilation decided."""
    shared = [f"paths.out={out}", "device=cpu", "train.threads=1", *arguments]
    line = preflight(shared, multirun=any("," in text for text in arguments))
    runs = [plan_run(run, in_sweep=line.in_sweep) for run in line.runs]
    return decide_compile(line.runs, runs, in_sweep=line.in_sweep)


def compiled(runs: Sequence[Run]) -> set[str]:
    return {run.config.train.compile for run in runs}


@pytest.fixture(autouse=True)
def with_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "cxx_compiler", lambda: "/usr/bin/c++")


MANY = "seed=" + ",".join(str(seed) for seed in range(1, 26))


@pytest.mark.parametrize(
    ("arguments", "choice"),
    [
        ((), "off"),  # a minute of training
        (("train.steps=2000",), "on"),
        (("train.steps=2000", "train.compile=off"), "off"),
        (("seed=1,2,3",), "off"),
        ((MANY,), "on"),
        (("model/head=tied,mos,factorized,simplex", "seed=1,2,3"), "off"),  # four shapes of three runs each
        ((MANY, "train.steps=20"), "off"),
    ],
)
def test_compilation_pays_for_long_runs_and_for_many_of_one_shape(
    arguments: tuple[str, ...], choice: str, tmp_path: Path
) -> None:
    runs = decided(tmp_path, *arguments)
    assert compiled(runs) == {choice}
    named = [run.identity["fingerprint"] for run in decided(tmp_path, *arguments, f"train.compile={choice}")]
    assert [run.identity["fingerprint"] for run in runs] == named  # the run is that of the explicit choice


def finish(run: Run) -> None:
    """Leave a record of a finished run."""
    run.folder.mkdir(parents=True)
    head = {**record_head(run.config, run.identity), **code_fields(code_hashes(loaded_code()))}
    write_record(run.folder, {"status": "diverged", "error": "nan", **head})


@pytest.mark.parametrize(("before", "after", "choice"), [(MANY, "seed=1,2", "on"), ("seed=1,2", MANY, "off")])
def test_more_seeds_are_compiled_as_the_first_ones_were(before: str, after: str, choice: str, tmp_path: Path) -> None:
    finish(decided(tmp_path, before)[0])
    assert compiled(decided(tmp_path, after)) == {choice}


def test_nothing_is_compiled_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "cxx_compiler", lambda: None)
    assert compiled(decided(tmp_path, "train.steps=2000")) == {"off"}
