"""Chooses the values of the next trials with a sampler of Optuna, from the results of the trials before.

The sampler is made anew for each choice, with a seed that follows from the seed of the search and the number of the
first trial that is chosen. So a search that was interrupted goes on exactly as it would have.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pgolf.config.space import Dimension, SearchSettings, Value
from pgolf.sweep.pruning import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


def choose(
    dimensions: Sequence[Dimension],
    told: Sequence[Trial],
    settings: SearchSettings,
    first: int,
    number: int,
    *,
    startup: int = 10,
) -> list[dict[str, Value]]:
    """The values of some trials that are chosen together. told: trials with a result. first: number of the first.
    startup: how many trials of tpe are random.
    """
    import optuna  # not above: it takes a second, and is an extra

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {dimension.key: distribution(dimension) for dimension in dimensions}
    study = optuna.create_study(sampler=sampler_of(settings, first, startup), direction="minimize")
    study.add_trials([as_optuna(trial, space) for trial in told])
    trials = [study.ask(space) for _ in range(number)]
    return [
        {dimension.key: dimension.rounded(trial.params[dimension.key]) for dimension in dimensions} for trial in trials
    ]


def sampler_of(settings: SearchSettings, first: int, startup: int) -> "BaseSampler":
    """The sampler for the trials from the number `first` on."""
    import numpy as np
    import optuna

    seed = int(np.random.SeedSequence([settings.seed, first]).generate_state(1)[0])
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # constant_liar: trials that are chosen together keep away from one another.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=startup)


def distribution(dimension: Dimension) -> "BaseDistribution":
    """A dimension in Optuna's terms."""
    from optuna import distributions

    if dimension.kind == "choice":
        return distributions.CategoricalDistribution(dimension.choices)
    if dimension.kind == "int":
        step = 1 if dimension.step is None else int(dimension.step)
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def as_optuna(trial: Trial, space: Mapping[str, "BaseDistribution"]) -> "FrozenTrial":
    """A trial as Optuna has it. One that diverged counts as pruned before its first score: worse than all others."""
    from optuna.trial import TrialState, create_trial

    states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.PRUNED}
    curves = [] if trial.state == "diverged" else list(trial.curves.values())
    steps = {step for curve in curves for step in curve}
    means = {step: fmean(curve[step] for curve in curves if step in curve) for step in steps}
    params: Any = dict(trial.values)
    return create_trial(
        state=states.get(trial.state, TrialState.FAIL),
        value=trial.val_bpb if trial.state == "done" else None,
        params=params,
        distributions=dict(space),
        intermediate_values=means if trial.state in states else {},
    )
