"""`hydra/sweeper=optuna` by real runs and the real Optuna: what is chosen, resumed, stopped and refused."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgolf import aggregate, status, train
from pgolf.config.space import Dimension, SearchSettings
from pgolf.sweep.sampling import choose
from run_folders import records

MainOf = Callable[..., tuple[int, str, str]]
RATE = "optim.roles.matrix.lr=tag(log,interval(0.01,0.2))"
SEARCH = ["--multirun", "hydra/sweeper=optuna"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "multirun" / "adhoc"


def trials_of(folder: Path) -> list[dict[str, Any]]:
    (found,) = json.loads((folder / "search.json").read_text(encoding="utf-8"))["searches"]
    return found["trials"]


def test_a_killed_search_goes_on_as_it_would_have(main_of: MainOf, tiny: list[str], here: Path) -> None:
    """The second search is killed after its first run. Each trial has two seeds, and its score is their mean."""
    words = [*tiny, *SEARCH, RATE, "train.steps=6", "train.val_every=0", "seed=11,12", "hydra.sweeper.n_trials=2"]
    code, out, err = main_of(train, *words)
    assert code == 0, err
    assert "2 trials: 2 done" in out
    assert "python -m pgolf.gate '' optim.roles.matrix.lr=" in out
    first = trials_of(here)
    assert [trial["state"] for trial in first] == ["done", "done"]
    assert len(list(records(here))) == 4
    for trial in first:
        assert trial["val_bpb"] == sum(trial["scores_bpb"].values()) / 2
        assert 0.01 <= trial["values"]["optim.roles.matrix.lr"] <= 0.2
    low = min(first, key=lambda trial: trial["val_bpb"])
    assert f"best: trial {low['number']}, {low['val_bpb']:.4f} bpb" in out

    here.rename(here.with_name("whole"))
    killed = subprocess.Popen([sys.executable, "-m", "pgolf.train", *words], stdout=subprocess.DEVNULL)
    while not list(here.glob("*/*/result.json")):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(list(records(here))) < 4
    code, _, err = main_of(train, *words)
    assert code == 0, err
    assert [(t["values"], t["scores_bpb"]) for t in trials_of(here)] == [(t["values"], t["scores_bpb"]) for t in first]

    ended = {folder: record["ended_at"] for folder, record in records(here)}
    code, out, err = main_of(train, *words)
    assert code == 0, err
    assert {folder: record["ended_at"] for folder, record in records(here)} == ended, "nothing is repeated"


def settings(**changes: Any) -> SearchSettings:
    fields = {"sampler": "tpe", "n_trials": 9, "n_jobs": 1, "seed": 1, "direction": "minimize"}
    pruning = {"prune_percentile": None, "prune_after_trials": 1, "prune_after_step": 0}
    return SearchSettings(**{**fields, **pruning, **changes})


def test_a_stopped_trial_is_no_result(main_of: MainOf, tiny: list[str], here: Path) -> None:
    """The second trial has rates that train nothing, so its first validation is worse than that of the first trial."""
    rates = ("0.05", "1e-07")
    dimension = Dimension("optim.roles.embedding.lr", "choice", choices=rates)
    chosen = {
        seed: [choose([dimension], [], settings(sampler="random", seed=seed), n, 1)[0][dimension.key] for n in (0, 1)]
        for seed in range(20)
    }
    seed = next(seed for seed, values in chosen.items() if values == list(rates))
    options = {"n_trials": 2, "sampler": "random", "seed": seed, "prune_percentile": 50, "prune_after_trials": 1}
    words = [*tiny, "train.steps=12", "train.val_every=4"]
    space = f"{dimension.key}={','.join(rates)}"
    code, out, err = main_of(
        train, *words, *SEARCH, space, *(f"hydra.sweeper.{key}={value}" for key, value in options.items())
    )
    assert code == 0, err
    assert "sampler random; runs of seed 1\n" in out
    assert "2 trials: 1 done, 1 pruned" in out
    by_state = {record["status"]: (folder, record) for folder, record in records(here)}
    folder, record = by_state["pruned"]
    assert "bpb at step 4 is worse than the limit of" in record["error"]
    assert "val_bpb" not in record
    assert not (folder / "artifact.pgolf").exists()
    (report,) = json.loads(main_of(status, "--json")[1])
    assert report["count"] == {"ok": 1, "pruned": 1}
    code, out, err = main_of(aggregate, str(here))
    assert code == 0, err
    assert "seed 1 pruned" in (here / "table.md").read_text(encoding="utf-8")

    ok = by_state["ok"][1]
    code, out, err = main_of(train, *words, f"{dimension.key}={rates[1]}")
    assert code == 0, err
    again = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert again["status"] == "ok", "an ordinary run of the same configuration is not stopped"
    assert again["val_bpb"] > ok["val_bpb"]
    assert not (folder / "pruning.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.steps=interval(20,10)"], "train.steps: its low end is not below its high end (interval(20,10))."),
        (["optim.roles.matrix.lr=tag(log,interval(0,1))"], "optim.roles.matrix.lr: a logarithm needs ends above 0"),
        (["optim.roles.matrix.lr=tag(log,choice(1,2))"], "tag(log,...) works only with an interval"),
        (
            ["optim.roles.matrix.lrr=interval(0.1,1)"],
            "optim.roles.matrix.lrr: no such option (interval(0.1,1)). Did you mean",
        ),
        ([RATE, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials: must be from 1 to 100,000 (0)."),
        ([RATE, "hydra.sweeper.n_trials=many"], "hydra.sweeper.n_trials: needs a whole number ('many')."),
        ([RATE, "hydra.sweeper.sampler=tpee"], "hydra.sweeper.sampler: no such sampler (tpee). Did you mean tpe?"),
        ([RATE, "hydra.sweeper.direction=maximize"], "hydra.sweeper.direction: must be minimize (maximize)."),
        ([RATE, "hydra.sweeper.trials=3"], "hydra.sweeper.trials: no such option (3). Did you mean"),
        ([RATE, "seed=int(interval(1,5))"], "seed: cannot be searched (int(interval(1,5)))."),
        ([RATE, "study=low_rank_q"], "study: cannot be searched by hydra/sweeper=optuna (low_rank_q)."),
        ([RATE, "hydra.sweeper.prune_percentile=50", "train.val_every=0"], "prune_percentile: needs validation scores"),
        ([RATE, "launch.rerun=true"], "launch.rerun: cannot be used with hydra/sweeper=optuna (true)."),
        (["seed=1,2"], "hydra/sweeper: optuna has no option to choose"),
        (["model.heads=choice(2,3)"], "in 1 of 2 runs, the first: "),
        ([RATE, RATE], "optim.roles.matrix.lr: is given twice"),
    ],
)
def test_mistakes_are_named(main_of: MainOf, tiny: list[str], here: Path, words: list[str], said: str) -> None:
    code, out, err = main_of(train, *tiny, *SEARCH, *words)
    assert code == 2, out
    assert said in err
    assert not here.exists()


def test_optuna_is_named_where_it_is_missing(
    main_of: MainOf, tiny: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgolf.config.space.find_spec", lambda name: None)
    code, _, err = main_of(train, *tiny, *SEARCH, RATE)
    assert code == 2
    assert "hydra/sweeper: optuna is not installed (optuna). Run pip install 'pgolf[search]'" in err


def test_a_file_of_another_space_is_refused(main_of: MainOf, tiny: list[str], here: Path) -> None:
    key = sorted([*tiny, RATE, "hydra/sweeper=optuna"])
    trial = {"number": 0, "after": 0, "values": {"model.layers": 3}}
    search = {"command": key, "space": {}, "settings": {}, "seeds": [1], "trials": [trial]}
    here.mkdir(parents=True)
    (here / "search.json").write_text(json.dumps({"schema_version": 1, "searches": [search]}))
    code, _, err = main_of(train, *tiny, *SEARCH, RATE)
    assert code == 2
    assert "search.json: trial 0 is not of this space. Move the file" in err
    (here / "search.json").write_text("[]")
    assert "search.json: is not a valid file of searches" in main_of(train, *tiny, *SEARCH, RATE)[2]
    assert list(here.glob("*/")) == []
