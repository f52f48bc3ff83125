"""`launch.seeds=auto` on a tiny study by real runs: who gets another seed, what counts, and what the table says."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pgolf import train
from pgolf.study.description import read_study
from pgolf.sweep.adding import keep_sequential
from run_folders import records, write_study

MainOf = Callable[..., tuple[int, str, str]]
STUDY = """# @package _global_
study:
  name: three
  question: Which of the three?
  source: nobody
  test: welch
  smallest_effect_bpb: {cpu: 0.001}
  noise_bpb: 0.02
  families:
    all: {title: three arms, baseline: A, arms: [A, B, C]}
  published: {}
  published_test: ""
  claims: [{text: B is worse., note: nobody, tests: [{family: all, kind: worse, arms: [B]}]}]
data:
  shuffle_seed: ${seed}
hydra:
  mode: MULTIRUN
  sweeper:
    params: {seed: "1,2,3", arm: "${study_arms:}"}
"""
ARMS = {"A": "", "B": "optim: {roles: {matrix: {lr: 0.0001}, embedding: {lr: 0.001}}}", "C": "model: {mlp_hidden: 60}"}


@pytest.fixture
def here(tmp_path: Path, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runs. B is much worse than A. C is almost as A is, and the margin is too small for it."""
    write_study(tmp_path / "conf", "three", STUDY, ARMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGOLF_CACHE", str(workshop / "cache"))
    monkeypatch.setenv("PGOLF_CONFIG_DIR", str(tmp_path / "conf"))
    return tmp_path / "multirun" / "three"


def seeds(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for _, record in records(folder):
        found.setdefault(record["arm"], []).append(record["seed"])
    return {arm: sorted(of_arm) for arm, of_arm in found.items()}


def test_undecided_arms_get_seeds_until_the_cap(main_of: MainOf, tiny: list[str], here: Path) -> None:
    words = [*tiny, "train.steps=20", "train.val_every=0", "study=three"]
    code, out, err = main_of(train, *words, "launch.seeds=auto", "launch.most_seeds=5", "study.noise_bpb=null")
    assert code == 0, err
    assert seeds(here)["C"] == seeds(here)["A"], "the baseline has every seed of its arms"
    most = len(seeds(here)["C"])
    assert most > 3
    assert [arm for arm, of_arm in seeds(here).items() if of_arm[:4] != [1, 2, 3, 4]] == [], "estimated noise needs 4"
    study = read_study(here)
    assert study is not None
    assert (study.test, study.most_seeds, study.noise_bpb) == ("sequential", 5, None)
    assert study.planned_seeds == (1, 2, 3), "of the study's file"
    assert study.changes == ()
    assert "So the sequential test decides (noise estimated)" in " ".join(out.split())
    table = (here / "table.md").read_text(encoding="utf-8")
    assert "Bonferroni p" in table
    assert "interval at Bonferroni's level" in table
    assert "Bonferroni's method corrects within each family" in table
    assert "error rates are higher than they say" in table
    assert "not judged: its test is for a number of seeds that was fixed beforehand" in table
    assert "planned, but without a row" not in table
    assert "no pair for seed" not in table
    assert "not in the current sweep plan" not in table
    with (here / "table.csv").open(encoding="utf-8") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert [rows[arm]["n"] for arm in "AC"] == [str(most)] * 2
    decided = {arm: len(of_arm) for arm, of_arm in seeds(here).items()}
    assert f"decided at {decided['B']} seeds" in table
    assert ("cap of 5 seeds" in table) == ("| C | 5" in table)

    before = seeds(here)
    code, out, err = main_of(train, *words, "launch.seeds=auto", "launch.most_seeds=5", "study.noise_bpb=null")
    assert code == 0, err
    assert seeds(here) == before, "no run is repeated or added"
    assert "9 runs in" in out
    assert "9 already run, 0 to run" in out
    fixed = replace(study, test="welch", most_seeds=None)
    assert keep_sequential(fixed, read_study(here)) == study, (
        "a test for a fixed number of seeds does not become valid later"
    )
    assert keep_sequential(fixed, read_study(here.parent)) == fixed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--multirun", "launch.seeds=auto", "seed=1,2"], "launch.seeds: auto needs the arms, families and margin"),
        (["launch.seeds=auto"], "launch.seeds: auto needs the arms, families and margin"),
        (["study=three", "launch.seeds=auto", "launch.rerun=true"], "launch.rerun: cannot be used with"),
        (
            ["study=three", "launch.seeds=auto", "seed=1,2,3,4", "launch.most_seeds=3"],
            "launch.most_seeds: is less than",
        ),
        (["study=three", "launch.seeds=atuo"], "launch.seeds: no such choice (atuo). Did you mean auto?"),
        (["study=three"], "noise_bpb: is used by the test sequential alone, not by welch"),
    ],
)
def test_mistakes_are_named(main_of: MainOf, tiny: list[str], here: Path, words: list[str], said: str) -> None:
    code, _, err = main_of(train, *tiny, *words)
    assert code == 2, err
    assert said in err
    assert not here.exists()
