"""A search of all options of an arm together, by a sampler of Optuna: `sampler: tpe` in study.probe.

The first trial of every arm is its own configuration. Every other one is chosen from the results of those before it.
The trials of one number are run together for all arms. All arms have the same seed of the sampler.
It may draw a configuration twice, which is run once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgolf.command import OK
from pgolf.config.composed_run import ComposedRun
from pgolf.config.space import Dimension, SearchSettings, Value
from pgolf.errors import ConfigError
from pgolf.probe.search import ArmSearch, Point, own_value
from pgolf.probe.trials import Request, execute_points
from pgolf.records.kinds import is_number
from pgolf.study.probes import Axis
from pgolf.sweep.pruning import Trial
from pgolf.sweep.sampling import choose

START = 0.25  # the share of the trials that are random, the arm's own one included


def search(request: Request, searches: Sequence[ArmSearch]) -> tuple[int, Path]:
    """Execute all trials, one of every arm at a time. Returns (exit code, folder), as the search axis by axis."""
    trials, folder = request.plan.trials, Path()
    spaces = [space_of(one) for one in searches]
    tried: list[list[tuple[Point, ComposedRun]]] = [[] for _ in searches]
    for number in range(trials):
        points = [
            [next_point(one, space, [point for point, _ in done], trials)]
            for one, space, done in zip(searches, spaces, tried, strict=True)
        ]
        print(f"trial {number + 1} of {trials}", flush=True)
        code, folder, results = execute_points(request, searches, points, f"trial={number + 1}")
        if code != OK:
            return code, folder
        for done, (result,) in zip(tried, results, strict=True):
            done.append(result)
    for one, space, done in zip(searches, spaces, tried, strict=True):
        ranges = {each.key: (each.low, each.high) for each in space if each.kind != "choice"}
        one.add([point for point, _ in done], 0, [run for _, run in done], ranges)
    return OK, folder


def space_of(one: ArmSearch) -> list[Dimension]:
    """One dimension per axis: the range of the numbers of its only option, otherwise the position of one of its points.

    Raises ConfigError if the arm's own value is outside.
    """
    return [dimension_of(one, axis) for axis in one.axes]


def dimension_of(one: ArmSearch, axis: Axis) -> Dimension:
    points = one.points_on(axis)
    if len(axis) > 1 or not all(is_number(value) for point in points for value in point.values()):
        one.own_position(points)
        return Dimension(" ".join(axis), "choice", choices=tuple(map(str, range(len(points)))))
    (option,) = axis
    numbers, own = [point[option] for point in points], own_value(one.current, option)
    low, high = min(numbers), max(numbers)
    if not is_number(own) or not low <= own <= high:
        raise ConfigError(
            f"study.probe: the axis {option} of arm {one.arm} lacks the value that the arm has ({own}). Make its range "
            "longer, or write factors: x0.5, x1, x2"
        )
    is_whole = all(type(number) is int for number in (*numbers, own))
    return Dimension(option, "int" if is_whole else "float", low, high, log=low > 0)


def next_point(one: ArmSearch, space: Sequence[Dimension], done: Sequence[Point], trials: int) -> dict[str, Any]:
    """The values of the next trial of an arm. done: its trials so far, the arm's own configuration first."""
    if not done:
        return {option: own_value(one.current, option) for axis in one.axes for option in axis}
    told = [as_trial(number, point, one, space) for number, point in enumerate(done)]
    settings = SearchSettings("tpe", trials, 1, 1, "minimize", None, 0, 0)
    (drawn,) = choose(space, told, settings, len(done), 1, startup=max(2, round(START * trials)))
    values: dict[str, Any] = {}
    for axis, dimension in zip(one.axes, space, strict=True):
        value = drawn[dimension.key]
        values |= one.points_on(axis)[int(value)] if dimension.kind == "choice" else {dimension.key: value}
    return values


def as_trial(number: int, point: Point, one: ArmSearch, space: Sequence[Dimension]) -> Trial:
    """A trial in the terms of its space."""
    values: dict[str, Value] = {}
    for axis, dimension in zip(one.axes, space, strict=True):
        if dimension.kind == "choice":
            own = {option: point.values[option] for option in axis}
            values[dimension.key] = str(one.points_on(axis).index(own))
        else:
            values[dimension.key] = point.values[dimension.key]
    if any(score == float("inf") for score in point.scores_bpb.values()):
        return Trial(number, number, values, "diverged")
    return Trial(number, number, values, "done", point.mean_bpb)
