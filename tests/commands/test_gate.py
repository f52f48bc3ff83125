"""The gate on real tiny runs: what exists counts, what is missing is run, and the exit code is the decision."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from made_records import describe, study_of
from pgolf import gate
from pgolf.pages.aggregation import aggregate
from pgolf.records.plan import planned_runs, read_plan
from pgolf.records.record import write_record
from pgolf.sweep.paired import compose_seeds, composed_arm, words_of
from pgolf.sweep.state import plan_run
from run_folders import records

MainOf = Callable[..., tuple[int, str, str]]
SLOW = "optim.roles.matrix.lr=0.0001 optim.roles.embedding.lr=0.001"  # barely trained: worse at every seed
SD = ["--noise", "0.02", "--margin", "0.01"]


@pytest.fixture
def here(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGOLF_CACHE", str(workshop / "cache"))
    return tmp_path / "multirun" / "gate"


def test_a_gate_from_first_run_to_every_decision(main_of: MainOf, tiny: list[str], here: Path) -> None:
    both = [*tiny, "train.val_every=0", "train.steps=25"]
    words = ("", SLOW, *SD, "--json", "--both", *both)
    code, out, err = main_of(gate, *words)
    told = json.loads(out)
    assert (code, told["decision"], told["verdict"]) == (gate.DISCARD, "discard", "worse")
    assert (told["seeds"], told["runs_made"]) == ([1], 2), "one pair shows a large effect"
    assert "seed 1" in err
    found = {r["fingerprint"]: r for _, r in records(here)}
    base, slow = (found[told[side]["fingerprint"]] for side in ("base", "candidate"))
    assert told["differences_bpb"] == [slow["val_bpb"] - base["val_bpb"]]
    assert base["config.data.shuffle_seed"] == slow["config.data.shuffle_seed"] == 1
    assert {(r["arm"], r["seed"]) for r in found.values()} == {(c.arm, c.seed) for c in planned_runs(read_plan(here))}
    code, out, _ = main_of(gate, *words)
    assert (code, json.loads(out)["runs_made"]) == (gate.DISCARD, 0), "no run is repeated"

    arms = [str(Path(told[side]["folders"][0]).parent) for side in ("base", "candidate")]
    code, out, _ = main_of(gate, arms[1], told["base"]["folders"][0], *SD)
    assert code == gate.KEEP
    assert "keep: better after 1 pair; 0 runs made" in out
    code, out, _ = main_of(gate, *arms, "--noise", "1", "--margin", "0.01", "--most-seeds", "1")
    assert code == gate.ANOTHER_SEED
    assert "another seed: undecided after 1 pair, the most that are allowed; 0 runs" in out

    code, out, err = main_of(gate, *arms, "--margin", "0.01", "--one-step")
    assert code == gate.ANOTHER_SEED, err
    assert "too few pairs for an interval" in out
    assert "after 2 pairs; 2 runs made" in out
    again = {r["fingerprint"]: r for _, r in records(here) if r["seed"] == 2}
    assert set(again) == set(found), "a seed that is added beside a folder is of the same configuration"
    assert {r["config.data.shuffle_seed"] for r in again.values()} == {2}
    assert "seed=2" in again[base["fingerprint"]]["overrides"]
    code, out, _ = main_of(gate, *words)
    assert json.loads(out)["seeds"] == [1, 2], "and is found by the overrides, too"
    (told_above,) = (warning for warning in aggregate(here).report.warnings if "pgolf.gate" in warning)
    assert "find too much. The answer of the gate is valid" in told_above, "a table is not a gate"

    change_folders(main_of, arms, words)


def change_folders(main_of: MainOf, arms: list[str], words: tuple[str, ...]) -> None:
    """Folders to which no seed can be added, and a damaged one."""

    def refusal(*given: str) -> str:
        code, _, err = main_of(gate, *given)
        assert code == 2
        return err

    one_more = ("--margin", "0.01", "--one-step")
    shutil.copytree(arms[0], "moved/arm")
    assert "has been moved" in refusal("moved/arm", arms[1], *one_more)
    folders = sorted(Path(arms[1]).glob("seed*"))
    config = (folders[0] / "config.yaml").read_text()
    (folders[0] / "config.yaml").write_text(config.replace("layers: 2", "layers: 3"))
    assert "cannot be repeated with another seed" in refusal(*arms, *one_more)
    (folders[0] / "config.yaml").write_text(config)
    record = json.loads((folders[0] / "result.json").read_text())
    write_record(folders[0], {**record, "code_files": ["nn/gpt.py 000000000000"]})
    assert "its code has changed since (nn/gpt.py)" in refusal(*arms, *one_more)
    (folders[1] / "result.json").write_text("{")
    assert "result.json" in refusal(*arms, *SD)
    assert "result.json" in refusal(*words)


def test_finished_arms_of_a_study(main_of: MainOf, tmp_path: Path) -> None:
    """Their study has the margin, and none of them is run."""
    base = [1.0, 1.1, 1.2, 1.15, 1.05, 1.02]
    shifts = {"tied": 0.0, "mos": -0.1, "worse": 0.1, "alike": 0.0001}
    noise = [0.0003, -0.0002, 0.0001, -0.0004, 0.0002, 0.0]
    study = study_of(
        tmp_path, {a: [b + s + (s and e) for b, e in zip(base, noise, strict=True)] for a, s in shifts.items()}
    )
    describe(study, {"heads": list(shifts)}, smallest=0.01)

    def told(candidate: str, *options: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = main_of(gate, str(study / "tied"), str(study / candidate), "--json", *options)
        found = json.loads(out)
        assert found["exit_code"] == code
        assert (found["margin_bpb"], found["runs_made"]) == (0.01, 0)
        return code, found

    for candidate, options, code, verdict in (
        ("mos", (), gate.KEEP, "better"),
        ("worse", (), gate.DISCARD, "worse"),
        ("worse", ("--accept-equal",), gate.DISCARD, "worse"),
        ("alike", (), gate.DISCARD, "equal"),
        ("alike", ("--accept-equal",), gate.KEEP, "equal"),
        ("alike", ("--noise", "0.5", "--most-seeds", "6"), gate.ANOTHER_SEED, "undecided"),
    ):
        assert (told(candidate, *options)[0], told(candidate, *options)[1]["verdict"]) == (code, verdict)
    assert told("mos")[1].keys() == documented_keys(), "docs/gate.md names every key"
    found = told("mos", "--noise-from", str(study), "--most-seeds", "6")[1]
    assert found["noise"]["df"] == 10, "of the two arms that are not compared"


def documented_keys() -> set[str]:
    """The keys in the table of JSON keys in docs/gate.md."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    rows = [line for line in text.partition("## JSON")[2].partition("\n## ")[0].splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_a_failed_run_is_not_a_decision(main_of: MainOf, tiny: list[str], here: Path) -> None:
    diverging = "optim.roles.matrix.lr=1e30 optim.roles.embedding.lr=1e30"
    code, _, err = main_of(gate, diverging, "model/head=untied", *SD, "--both", *tiny)
    assert code == gate.FAILED_RUN
    assert "seed=1: " in err
    assert "traceback: " in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["", "model/head=mos"], "--margin: is missing. Give the smallest difference"),
        (["", "model/head=moss", *SD], "model/head: no such choice (moss). Did you mean mos?"),
        (["x", "seed=3", *SD], "x: is neither a folder nor an override"),
        (["", "seed=3", *SD], "seed: is chosen by this command (seed=3). Leave it out"),
        (["", "model/head=moss " + "train.steps=10 " * 100, *SD], "model/head: no such choice (moss)"),
        (["", "hydra/launcher=joblib", *SD], "hydra/launcher: is not used here"),
        (["", '"', *SD], "cannot be cut into overrides"),
        (["", "train.log_every=10", *SD], "is the same configuration as BASE (fingerprint "),
        (["", "model/head=mos,tied", *SD], "selects 2 configurations. Select one"),
        (["", "launch.rerun=true", *SD], "launch.rerun: cannot be used here"),
        (["", "model/head=mos", *SD, "--noise-from", "rows.jsonl"], "cannot be given together with --noise"),
        (["", "model/head=mos", "--margin", "1", "--noise-by-seed"], "--noise-by-seed: works only with --noise-from"),
        (["", "train.steps=60", *SD], "CANDIDATE: has another budget than BASE (steps 60, not "),
        (
            ["", "model/head=mos data.shuffle_seed=5", *SD],
            "data.shuffle_seed: differs between the two at seed 1 (1, 5)",
        ),
        (["", "model/head=mos eval=sliding", *SD], "eval: is sliding"),
        (["", "", "--noise", "1e-300"], "--noise: must be from 1e-09 to 1000 bpb (1e-300)"),
        (["", "", "--noise", "1e300"], "--noise: must be from 1e-09 to 1000 bpb (1e300)"),
        (["", "", "--margin", "0"], "--margin: must be above 0 (0)"),
        (["", "", "--noise", "little"], "--noise: needs a number (little)"),
        (["", "", "--alpha", "1"], "--alpha: must be between 0 and 1 (1)"),
        (["", "", "--most-seeds", "0"], "--most-seeds: must be from 1 to 1,000 (0)"),
    ],
)
def test_mistakes_are_named(main_of: MainOf, here: Path, words: list[str], said: str) -> None:
    code, _, err = main_of(gate, *words, *(() if "--margin" in words or len(words) == 2 else ("--margin", "0.01")))
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not here.exists(), "nothing is written"


def test_every_seed_that_an_arm_has_is_found(workshop: Path, here: Path) -> None:
    """Up to the cap and beyond it, in any study of the output folder; other arms and other folders do not count."""
    args = gate.make_parser().parse_args(["", "model/head=mos", "--margin", "0.01", "--most-seeds", "2"])
    comparison, seeds = gate.prepare(args)
    assert seeds == [1, 2]
    for seed, name in ((1, "gate"), (7, "gate"), (12, "earlier")):
        folder = comparison.arms[1].run(1).folder
        (folder.parents[2] / name / "any" / f"seed{seed}-{folder.name.split('-')[1]}").mkdir(parents=True)
    (folder.parents[2] / "gate" / "any" / "seed9-01234567").mkdir()
    comparison, seeds = gate.prepare(args)
    assert seeds == [1, 7, 12], "a seed beyond the cap does not displace an earlier one"
    assert comparison.arms[0].run(12).config.seed == 12


def test_other_budgets_may_be_allowed(here: Path) -> None:
    args = gate.make_parser().parse_args(["", "train.steps=60", "--margin", "0.01", "--unequal-budgets"])
    comparison, _ = gate.prepare(args)
    assert [arm.run(1).config.train.steps for arm in comparison.arms][1] == 60


def test_a_defect_is_not_a_decision(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The interpreter's exit code for a traceback is that of `discard`."""
    monkeypatch.setattr(gate, "prepare", lambda args: 1 / 0)
    assert gate.main(["", "", "--margin", "1"]) == gate.FAILED_RUN
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_arm_may_replace_what_both_have() -> None:
    assert words_of("b=2 c='x y'", ["a=1", "b=1"]) == ["a=1", "b=2", "c=x y", "study.name=gate"]
    assert words_of("study=parts", ["study.name=mine"]) == ["study.name=mine", "study=parts"]


def test_the_margin_of_a_study_is_the_default() -> None:
    runs = compose_seeds(["study=low_rank_q", "arm=low_rank_q/Q0_full"], [1, 2])
    arm = composed_arm("Q0", runs, [plan_run(run, in_sweep=True) for run in runs])
    assert gate.margin_of(None, [arm, arm]) == 0.01
    assert gate.margin_of(0.02, [arm]) == 0.02
