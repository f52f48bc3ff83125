"""When a search stops a trial: its validation score is worse than a percentile of earlier trials at the same step.

The limits of a trial are fixed before it starts, from the trials that were known when it was chosen. The rule is that
of Optuna's PercentilePruner, but for the score at the step itself: Optuna takes the best score up to the step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pgolf.config.space import SearchSettings, Value
from pgolf.records.metrics import read_metrics

TrialStateName = Literal["waiting", "done", "pruned", "diverged", "failed"]


@dataclass
class Trial:
    """One trial of a search, which has one run per seed.

    after: how many trials had a result when it was chosen. values: of the searched options. val_bpb: the mean packed
    score over the seeds, of a trial that is done. curves: validation scores in bpb by step, for each seed. folders: of
    its runs, relative to the folder of the search.
    """

    number: int
    after: int
    values: Mapping[str, Value]
    state: TrialStateName = "waiting"
    val_bpb: float | None = None
    scores_bpb: Mapping[str, float] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    curves: dict[int, dict[int, float]] = field(default_factory=dict)  # not in the file


def curve_of(folder: Path) -> dict[int, float]:
    """The validation scores of a run in bpb, by step."""
    events, _ = read_metrics(folder)
    return {
        event["step"]: float(event["val_bpb_live"])
        for event in events
        if event["event"] == "val" and event.get("step") is not None and event.get("val_bpb_live") is not None
    }


def limits_of(before: Sequence[Trial], seed: int, settings: SearchSettings) -> dict[int, float]:
    """The scores in bpb, by step, above which a trial is stopped. before: the trials that were known.

    Only finished trials count, with the curve of the same seed.
    """
    import numpy as np

    curves = [trial.curves[seed] for trial in before if trial.state == "done" and trial.curves.get(seed)]
    if settings.prune_percentile is None or len(curves) < settings.prune_after_trials:
        return {}
    steps = sorted({step for curve in curves for step in curve if step >= settings.prune_after_step})
    return {
        step: float(np.percentile([curve[step] for curve in curves if step in curve], settings.prune_percentile))
        for step in steps
    }
