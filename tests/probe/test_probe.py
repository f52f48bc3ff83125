"""A probe of a tiny study by real runs: equal budgets, its own text and seed, the best of each axis, and its record."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from json_page import check
from pgolf.config.build import build_data
from pgolf.config.command_line import preflight
from pgolf.config.study import study_of
from pgolf.data.loaded import load_corpus
from pgolf.probe import __main__ as probe
from pgolf.records.plan import Sweep, add_to_plan
from pgolf.sweep.launching import with_probes
from run_folders import records, write_study

MainOf = Callable[..., tuple[int, str, str]]
STUDY = """# @package _global_
study:
  name: pair
  question: Which of the two?
  source: nobody
  test: welch
  smallest_effect_bpb: {cpu: 0.01}
  families:
    two: {title: two arms, baseline: A, arms: [A, B]}
  published: {}
  published_test: ""
  claims: []
  probe:
    trials: 3
    seeds: [0]
    targets: 3000
    axes: [{optim.roles.matrix.lr: [x0.01, x1, x4]}]
    arms:
      B*: [{model/head: [tied, untied]}, {optim.roles.embedding.lr: [x1, x0.01]}]
data:
  shuffle_seed: ${seed}
hydra:
  mode: MULTIRUN
  sweeper:
    params: {seed: "1,2,3", arm: "${study_arms:}"}
"""


@pytest.fixture
def study(tmp_path: Path, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The YAML file of a study of two arms, in a folder of the user's own config groups."""
    file = write_study(tmp_path / "conf", "pair", STUDY, {"A": "", "B": "model: {mlp_hidden: 48}"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGOLF_CACHE", str(workshop / "cache"))
    monkeypatch.setenv("PGOLF_CONFIG_DIR", str(tmp_path / "conf"))
    return file


def test_a_probe_from_first_trial_to_the_tables(main_of: MainOf, tiny: list[str], study: Path) -> None:
    short = [*tiny, "train.steps=12", "train.val_every=0"]
    code, out, err = main_of(probe, "pair", *short, "--json")
    assert code == 0, err
    assert "6 runs: 3 trials for each of 2 arms, seed 0; about" in err
    told = json.loads(out)
    check("probe", told)
    folder = Path("multirun/pair-probe")
    runs = {(r["arm"], r["fingerprint"]): r for _, r in records(folder)}
    assert sorted(arm for arm, _ in runs) == ["A"] * 3 + ["B"] * 3, "every arm has as many trials"
    assert {r["seed"] for r in runs.values()} == {r["config.data.shuffle_seed"] for r in runs.values()} == {0}

    (of_study, *_) = preflight(["study=pair", *short], multirun=True).runs
    corpus = load_corpus(build_data(of_study.config).prepare())
    (text,) = {r["val_text_sha"] for r in runs.values()}
    assert told["val_text_sha"] == [text]
    assert text != corpus.val_text_sha
    own = {r["val_targets"] for r in runs.values()}
    assert own == {3000}, "as many as eval.max_targets allows"

    a, b = told["arms"]
    assert [len(axis["points"]) for axis in a["axes"] + b["axes"]] == [3, 2, 2]
    for axis in a["axes"] + b["axes"]:
        scores = [point["bpb"] for point in axis["points"]]
        assert scores[axis["best"]] == min(scores)
    assert a["axes"][0]["points"][0]["values"] == {"optim.roles.matrix.lr": 0.0004}
    assert b["axes"][0]["own"] == 0
    kept, start = b["axes"][0]["points"][b["axes"][0]["best"]], b["axes"][1]["points"][b["axes"][1]["own"]]
    assert kept["bpb"] == start["bpb"], "the best point of an axis is a point of the next one"
    assert b["axes"][1]["best"] == 0, "a hundredth of a rate is worse"
    assert b["axes"][1]["at_end"] == ["optim.roles.embedding.lr"]

    code, out, err = main_of(probe, "pair", *short)
    assert code == 0, err
    assert "6 already run, 0 to run" not in out
    assert out.count("0 to run") == 2, "no trial is repeated, on either axis"
    assert "# conf/arm/pair/A.yaml" in out
    described = study_of(of_study)
    assert described is not None
    assert described.tuning == ()
    found = with_probes(described, Path("multirun/pair"))
    (line,) = found.tuning
    assert "It ended after" not in line
    add_to_plan(Path("multirun/pair"), Sweep(("study=pair",), found.probes[0].ended_at - 1, "c0de", False, ()))
    assert "It ended after the first runs" in with_probes(described, Path("multirun/pair")).tuning[0]
    assert line.startswith(
        "How options were chosen: by pgolf.probe, 3 trials for each of 2 arms, seed 0, scored on the end"
    )


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (("trials: 3", "trials: 4"), [], "study.probe.trials: is 4 for every arm, but the axes give 3 for A, B"),
        (("x0.01, x1, x4", "x1, x4"), [], "but the axes give 2 for A; 3 for B"),
        (("seeds: [0]", "seeds: [2]"), [], "study.probe.seeds: 2 is a seed of the study"),
        (("x0.01, x1, x4", "0.1, 0.2, 0.3"), [], "lacks the value that the arm has (0.04)"),
        (("trials: 3\n", "trials: 3\n    sampler: best\n"), [], "sampler"),
        (("axes: [{optim", "sampler: tpe\n    axes: [] #"), [], "study.probe.axes: are empty for A"),
        (
            ("axes: [{optim.roles.matrix.lr: [x0.01, x1, x4]}]", "sampler: tpe\n    axes: [{train.steps: [x2, x4]}]"),
            [],
            "the axis train.steps of arm A lacks the value that the arm has",
        ),
        (("matrix.lr", "matrix.rate"), [], "optim.roles.matrix.rate is not an option of arm A"),
        (("targets: 3000", "targets: 90000"), [], "study.probe.targets: holds out"),
        (("[tied, untied]", "[tied, tied]"), [], "study.probe: of pair is not valid: arms.B* hold a value twice"),
        (("  probe:", "  probe: {}\n  blocked:"), [], "study.blocked: "),
        (("trials: 3", "trails: 3"), [], "trails is not a field of it"),
        (None, ["seed=1"], "seed: is chosen by this command (seed=1). Leave it out"),
        (None, ["--text", "gone_*.bin"], "--text: does not match any file (gone_*.bin)"),
    ],
)
def test_an_unfair_probe_is_refused(
    main_of: MainOf, tiny: list[str], study: Path, change: tuple[str, str] | None, words: list[str], said: str
) -> None:
    if change is not None:
        study.write_text(STUDY.replace(*change))
    path = f"hydra.searchpath=[{study.parents[1]}]"  # it may stand before the study
    code, _, err = main_of(probe, path, "pair", *tiny, *words)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert not Path("multirun").exists()


def test_the_text_of_the_study_is_refused(main_of: MainOf, tiny: list[str], study: Path) -> None:
    (run, *_) = preflight(["study=pair", *tiny], multirun=True).runs
    corpus = build_data(run.config).prepare()
    for shards, text in ((corpus.val_shards, "validation"), (corpus.train_shards, "training")):
        code, _, err = main_of(probe, "pair", *tiny, "--text", str(shards[0]))
        assert code == 2, err
        assert f"--text: 100% of its windows of 64 tokens are in the study's {text} text" in err


def test_a_sampler_searches_all_options_of_an_arm_together(main_of: MainOf, tiny: list[str], study: Path) -> None:
    pytest.importorskip("optuna")
    text = study.read_text(encoding="utf-8")
    study.write_text(text.replace("trials: 3", "trials: 4\n    sampler: tpe"), encoding="utf-8")
    words = ("pair", *tiny, "train.steps=8", "train.val_every=0", "--json")
    code, out, err = main_of(probe, *words)
    assert code == 0, err
    of_arm = {one["arm"]: one["axes"] for one in json.loads(out)["arms"]}
    assert [len(axis["points"]) for axes in of_arm.values() for axis in axes] == [4, 4], "one table per arm"
    ((a,), (b,)) = of_arm["A"], of_arm["B"]
    rates = [point["values"]["optim.roles.matrix.lr"] for point in a["points"]]
    assert all(rates[0] * 0.01 <= rate <= rates[0] * 4 for rate in rates)
    assert len(set(rates)) == 4, "drawn, not taken from the points"
    assert {point["values"]["model/head"] for point in b["points"]} <= {"tied", "untied"}
    assert all(axis["own"] == 0 for axis in (a, b))
    for axis in (a, b):
        scores = [point["bpb"] for point in axis["points"]]
        assert scores[axis["best"]] == min(scores)

    before = {folder: record["ended_at"] for folder, record in records(Path("multirun/pair-probe"))}
    assert main_of(probe, *words)[1] == out, "the same command draws the same trials"
    assert {folder: record["ended_at"] for folder, record in records(Path("multirun/pair-probe"))} == before
