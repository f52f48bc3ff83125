"""The estimated time of a run: the speed of earlier runs of its size, its scorings, and words for the sum."""

from pathlib import Path
from typing import Any

import pytest

from made_records import put, record
from pgolf.config.command_line import preflight
from pgolf.config.schema import Config
from pgolf.execution.account import Account, account
from pgolf.sweep.run_time import START_S, RunTime, RunTimes, about, scorings, total_text
from pgolf.sweep.state import plan_run

SMALL = ["device=cpu", "train.threads=1", "model.layers=1", "eval.max_targets=10000", "optim/averaging=none"]


@pytest.fixture(scope="module")
def run() -> tuple[Config, Account]:
    config = plan_run(preflight(SMALL, multirun=False).runs[0], in_sweep=False).config
    return config, account(config)


def earlier(study: Path, seed: int, flops_per_token: int, **other: Any) -> Path:
    """An earlier run of 100 steps of 4,096 tokens in 20 s."""
    size: dict[str, Any] = {"flops_per_token": flops_per_token, "params__total": 1000, "threads": 1, "train_s": 20.0}
    measured: dict[str, Any] = {"eval_s": 2.0, "pack_s": 0.5, "priming_s": 0.0, "eval_mode": "plain256-first5000"}
    return put(study, record("tied", seed, 2.0, **{**size, **measured, **other})).parent


def test_only_earlier_runs_of_about_the_size_count(tmp_path: Path, run: tuple[Config, Account]) -> None:
    config, costs = run
    same = earlier(tmp_path / "heads", 1, costs.flops_per_token * 2)
    for seed in range(2, 22):
        earlier(tmp_path / "heads", seed, costs.flops_per_token // 8, train_s=600.0)
    earlier(tmp_path / "heads", 30, costs.flops_per_token, threads=2)
    estimate = RunTimes(tmp_path).of(config, costs)
    assert estimate.earlier == {same}
    assert estimate.step_s == pytest.approx(0.1), "half of the FLOPs of 0.2 s"
    assert estimate.train_s == pytest.approx(16.0)
    assert estimate.scoring_s == pytest.approx(3 * 2.0), "twice the targets, half of their FLOPs, three scorings"
    assert estimate.packing_s == pytest.approx(0.5 * costs.total / 1000)
    assert estimate.start_s == START_S
    assert estimate.total_s == pytest.approx(START_S + 16 + 6 + estimate.packing_s)


def test_another_evaluation_is_counted_by_its_windows(tmp_path: Path, run: tuple[Config, Account]) -> None:
    config, costs = run
    earlier(tmp_path / "heads", 1, costs.flops_per_token, eval_mode="sliding256-stride64", eval_s=900.0)
    estimate = RunTimes(tmp_path).of(config, costs)
    assert estimate.scoring_s == pytest.approx(3 * 10_000 * (20 / 409_600) / 3), "a third of training, per token"


def test_without_such_runs_a_matrix_product_gives_the_speed(tmp_path: Path, run: tuple[Config, Account]) -> None:
    config, costs = run
    times = RunTimes(tmp_path)
    times.products["cpu", 1] = 1e9
    estimate = times.of(config, costs)
    assert estimate.earlier == frozenset()
    assert estimate.step_s == pytest.approx(costs.flops_per_token * 4096 / 1e9)


def test_every_validation_is_a_scoring(run: tuple[Config, Account]) -> None:
    config, _ = run
    assert (config.train.val_every, scorings(config, 80), scorings(config, 81), scorings(config, 241)) == (80, 2, 3, 5)


def test_an_unprepared_corpus_leaves_the_scoring_out(tmp_path: Path, run: tuple[Config, Account]) -> None:
    line = preflight([*SMALL, "eval.max_targets=null", f"paths.cache={tmp_path}/cache"], multirun=False)
    config, times = line.runs[0].config, RunTimes(tmp_path)
    estimate = times.of(plan_run(line.runs[0], in_sweep=False).config, run[1])
    assert estimate.scoring_s is None
    assert times.val_tokens(config) is None
    assert not (tmp_path / "cache").exists(), "nothing is prepared"
    assert "not scoring, since a corpus is not prepared" in total_text(60.0, [estimate])


def test_the_words_name_what_the_estimate_is_made_from() -> None:
    measured = RunTime(1.5, 60.0, 0.1, 2.0, 0.1, frozenset({Path("a"), Path("b")}))
    rough = RunTime(1.5, 60.0, 0.1, 2.0, 0.1, frozenset())
    beginning = "about 2.2 h in total, one run after another: start, training, scoring and packing "
    assert total_text(7900.0, [measured, measured]) == (
        f"{beginning}(from the speed of 2 earlier runs of about this size)"
    )
    words = "a rough estimate from the speed of a matrix product; small models can take several times as long"
    assert total_text(7900.0, [rough]) == f"{beginning}({words})"
    assert total_text(7900.0, [measured, rough]).endswith(
        "2 earlier runs of about this size, 1 run roughly from the speed of a matrix product)"
    )
    assert (about(0.4), about(45.2)) == ("under 1 s", "about 45 s")
