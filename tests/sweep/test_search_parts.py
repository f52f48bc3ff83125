"""The parts of a search without runs: the space, the choice of the real Optuna, and the limits of its pruner."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pgolf.config.space import Dimension, SearchSettings, space_of
from pgolf.sweep.pruning import Trial, TrialStateName, limits_of
from pgolf.sweep.sampling import choose

SPACE = [
    Dimension("lr", "float", 0.001, 0.5, log=True),
    Dimension("rank", "int", 8, 64, 8),
    Dimension("head", "choice", choices=("tied", "mos")),
]


STATES: tuple[TrialStateName, ...] = ("done", "pruned", "diverged", "failed")  # of the first trials


def settings(**changes: Any) -> SearchSettings:
    fields = {"sampler": "tpe", "n_trials": 9, "n_jobs": 1, "seed": 1, "direction": "minimize"}
    pruning = {"prune_percentile": None, "prune_after_trials": 5, "prune_after_step": 0}
    return SearchSettings(**{**fields, **pruning, **changes})


def searched(own: SearchSettings, number: int, known: int = 0) -> list[Trial]:
    """Trials on a bowl with its minimum at lr=0.05, rank=32, head=mos. known: read back from plain values first."""
    trials: list[Trial] = []
    if known:
        trials = [Trial(t.number, t.after, dict(t.values), t.state, t.val_bpb) for t in searched(own, known)]
    while len(trials) < number:
        first = len(trials)
        for n, values in enumerate(choose(SPACE, trials, own, first, min(own.n_jobs, number - first))):
            lr, rank = float(values["lr"]), float(values["rank"])
            score = math.log(lr / 0.05) ** 2 + ((rank - 32) / 16) ** 2 + (values["head"] == "tied")
            state = STATES[first + n] if first + n < len(STATES) else "done"
            trials.append(Trial(first + n, first, values, state, score if state == "done" else None))
    return trials


@pytest.mark.parametrize("changes", [{}, {"n_jobs": 4}, {"sampler": "random"}])
def test_the_same_seed_gives_the_same_trials_from_any_point_on(changes: dict[str, Any]) -> None:
    own = settings(**changes)
    whole = searched(own, 20)
    assert searched(own, 20, known=12) == whole
    assert searched(settings(**{**changes, "seed": 2}), 20) != whole
    for trial in whole:
        assert all(dimension.holds(trial.values[dimension.key]) for dimension in SPACE)
        assert len(str(trial.values["lr"])) <= 9
    assert len({str(trial.values) for trial in whole}) > 15


def test_the_tree_sampler_learns_and_the_random_one_does_not() -> None:
    def late(sampler: str) -> float:
        scores = [
            math.log(float(trial.values["lr"]) / 0.05) ** 2
            for seed in range(5)
            for trial in searched(settings(sampler=sampler, seed=seed), 40)[20:]
        ]
        return float(np.median(scores))

    assert late("tpe") < 0.7 * late("random")


def test_spaces_are_read_as_hydra_writes_them() -> None:
    words = {
        "a=interval(1,5)": Dimension("a", "float", 1.0, 5.0),
        "a=tag(log,interval(0.01,0.2))": Dimension("a", "float", 0.01, 0.2, log=True),
        "a=tag(log,int(interval(8,64)))": Dimension("a", "int", 8, 64, log=True),
        "a=range(8,64,step=8)": Dimension("a", "int", 8, 56, 8),
        "a=range(8,0,-3)": Dimension("a", "int", 2, 8, 3),
        "a=range(0,1,0.25)": Dimension("a", "float", 0, 0.75, 0.25),
        "a=choice(x,2)": Dimension("a", "choice", choices=("x", "2")),
        "a=x,y": Dimension("a", "choice", choices=("x", "y")),
    }
    parser = OverridesParser.create()
    for word, dimension in words.items():
        space = space_of([(text, parser.parse_override(text)) for text in (word, "b=3", "b=4", "seed=5,6")])
        assert space.dimensions == (dimension,)
        assert (space.fixed, space.seeds) == (("b=4",), (5, 6))
        assert space.corners()[0] == ["b=4", f"a={dimension.edges()[0]}", "seed=5"]
        (values,) = choose(space.dimensions, [], settings(), 0, 1)
        assert dimension.holds(values["a"])


@pytest.mark.parametrize("percentile", [50.0, 25.0])
def test_a_limit_is_that_of_optunas_pruner(percentile: float) -> None:
    """For scores at one step, Optuna's pruner stops a trial exactly where its score is above the limit."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    random = np.random.default_rng(0)
    pruner = optuna.pruners.PercentilePruner(percentile, n_startup_trials=5, n_warmup_steps=0)
    decisions = []
    for size in range(3, 12):
        scores = random.normal(3, 0.2, size)
        study = optuna.create_study(pruner=pruner)
        study.add_trials([optuna.trial.create_trial(value=s, intermediate_values={10: s}) for s in scores])
        before = [Trial(n, n, {}, "done", s, curves={1: {10: s}}) for n, s in enumerate(scores)]
        before.append(Trial(size, size, {}, "pruned", curves={1: {10: 0.0}}))
        limits = limits_of(before, 1, settings(prune_percentile=percentile))
        for score in random.normal(3, 0.2, 8):
            trial = study.ask()
            trial.report(score, 10)
            decisions.append(trial.should_prune())
            assert trial.should_prune() == (10 in limits and score > limits[10])
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert set(decisions) == {True, False}
    late = settings(prune_percentile=percentile, prune_after_step=11)
    assert limits_of(before, 1, late) == {}
    assert limits_of(before, 2, settings(prune_percentile=percentile)) == {}, "another seed has another curve"
    assert limits_of(before, 1, settings()) == {}
