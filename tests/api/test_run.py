"""`pgolf.run`: a sweep in processes of its own, which an interrupt leaves resumable."""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

import pgolf
from made_records import STUDY, cell_folder, fingerprint_of, put, record
from pgolf.api.running import checked, quoted, rows_of_command
from pgolf.config.path_values import quote_paths
from pgolf.errors import ConfigError
from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from run_folders import InterruptsAt

RUNS = ["optim.roles.matrix.lr=0.02,1e30", "seed=1", "train.steps=12", "train.val_every=0"]  # the second fails


def test_an_interrupted_sweep_is_resumed_by_the_same_call(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    out = tmp_path / "it's, here"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", InterruptsAt(sys.stdout, "to run"))
        with pytest.raises(KeyboardInterrupt):
            pgolf.run([*tiny, *RUNS], out=out)
    assert (out / "adhoc" / "sweep.json").exists()
    assert "the same command resumes" in capsys.readouterr().out
    with pytest.warns(UserWarning, match=r"not every run succeeded: 1 of 2 runs failed\. See the column error"):
        runs = pgolf.run([*tiny, *RUNS], out=out)
    assert runs is not None
    assert runs[["seed", "status"]].to_numpy().tolist() == [[1, "ok"], [1, "failed"]]
    assert runs.source == out / "adhoc"
    assert "[2/2] " in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.DataFrame(pgolf.load(out / "adhoc")), pd.DataFrame(runs))


def test_problems_of_the_overrides_are_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="model/haed: no such config group") as caught:
        pgolf.run(["model/haed=tied", "data=txt"], out=tmp_path / "out")
    assert len(caught.value.problems) == 2
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "out", "message"),
    [
        ("seed=1", None, r"overrides: is one text \(seed=1\). Give a list"),
        (["--multirun", "seed=1"], None, r"overrides: takes no flags \(--multirun\)"),
        (["paths.out=a"], "b", r"out: is given twice \(out=b and paths.out=a\). Leave one out"),
    ],
)
def test_bad_arguments_are_named(overrides: Sequence[str], out: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pgolf.run(overrides, out=out)


def test_the_folder_may_be_an_override() -> None:
    assert checked(["seed=1"], None) == ["seed=1", "paths.out=multirun"]
    assert checked(["paths.out=a", "seed=1"], None) == ["seed=1", "paths.out=a"]
    assert checked(["seed=1"], "a") == ["seed=1"]


@pytest.mark.parametrize("name", ["plain", "it's, here", "a=b", "${x}", r"back\'slash", 'a "b"'])
def test_any_folder_reaches_the_sweep(name: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    (word,) = quote_paths([f"paths.out={quoted(f'/gone/{name}')}"])
    value = OverridesParser.create().parse_override(word).value()
    assert OmegaConf.to_container(OmegaConf.create({"x": value}), resolve=True) == {"x": f"/gone/{name}"}


def planned(folder: Path, arm: str, started_at: float) -> None:
    put(folder, record(arm, 1, 2.0))
    cell = PlannedRun(STUDY, arm, 1, fingerprint_of(arm), cell_folder(arm, 1))
    add_to_plan(folder, Sweep((f"arm={arm}", "paths.out='a'"), started_at, "c0de", False, (cell,)))


def test_rows_are_those_of_this_command(tmp_path: Path) -> None:
    planned(tmp_path / STUDY, "earlier", 10.0)
    planned(tmp_path / STUDY, "own", 30.0)
    began = time.time()
    planned(tmp_path / STUDY, "other", 40.0)
    assert rows_of_command(tmp_path, ["paths.out=a", "arm=own"], 20.0).arm.tolist() == ["own"]
    by_time = rows_of_command(tmp_path, ["hydra/sweeper=other"], began)
    assert by_time.arm.tolist() == ["other"], "a sweeper that writes no plan"
