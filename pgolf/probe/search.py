"""A coordinate search for one arm: one axis after another, and the best point of each is kept.

Every point of an axis is a whole configuration. The point that the arm has already is one of them, so that it is run
once, and an axis of n points costs n - 1 further trials.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from pgolf.config.composed_run import ComposedRun
from pgolf.config.sections import node_at
from pgolf.errors import ConfigError
from pgolf.records.kinds import is_number
from pgolf.study.probes import ArmProbe, Axis, points_of, value_at


@dataclass(frozen=True)
class Point:
    """One configuration of an arm. values: of the options of an axis. scores_bpb: by seed; infinite if a run diverged.
    fingerprint: of its configuration. ended_at: of its last run, Unix time in seconds.
    """

    values: Mapping[str, Any]
    scores_bpb: Mapping[int, float]
    fingerprint: str
    ended_at: float

    @property
    def mean_bpb(self) -> float:
        return fmean(self.scores_bpb.values())


@dataclass(frozen=True)
class AxisResult:
    """The points of an axis in the order of the plan. best: the position of the best one; own: of the arm's own.
    ranges: ends of the numbers that a sampler drew, of points that are no plan.
    """

    points: tuple[Point, ...]
    best: int
    own: int
    ranges: Mapping[str, tuple[float, float]] | None = None

    @property
    def at_end(self) -> list[str]:
        """The options with a number at the end of its range, among points that agree in everything else. Drawn numbers
        are at an end of their range in its outer tenths.
        """
        best = self.points[self.best].values
        if self.ranges is not None:
            return [option for option, ends in self.ranges.items() if is_near_end(best[option], *ends)]
        ends = []
        for option in (option for option in best if is_number(best[option])):
            others = [key for key in best if not is_number(best[key])]
            alike = [p.values[option] for p in self.points if all(p.values[key] == best[key] for key in others)]
            if len(set(alike)) > 1 and best[option] in (min(alike), max(alike)):
                ends.append(option)
        return ends


@dataclass
class ArmSearch:
    """The search of one arm. words: the overrides of its trials. current: the best configuration so far."""

    arm: str
    axes: Sequence[Axis]
    words: tuple[str, ...]
    current: ComposedRun
    chosen: dict[str, Any] = field(default_factory=dict)
    results: list[AxisResult] = field(default_factory=list)

    def points(self) -> list[dict[str, Any]]:
        """The points of the next axis, with every value decided. Raises ConfigError."""
        return self.points_on(self.axes[len(self.results)])

    def points_on(self, axis: Axis) -> list[dict[str, Any]]:
        """The points of an axis, with every value decided. Raises ConfigError."""
        return [
            {option: value_at(value, own_value(self.current, option), option) for option, value in point.items()}
            for point in points_of(axis)
        ]

    def command_line(self, point: Mapping[str, Any], seed: int) -> list[str]:
        """The overrides of one trial with one seed."""
        values = {**self.chosen, **point}
        return [*self.words, *(f"{option}={value_text(value)}" for option, value in values.items()), f"seed={seed}"]

    def own_position(self, points: Sequence[Mapping[str, Any]]) -> int:
        """Which point the arm has already. Raises ConfigError if it is none of them."""
        for position, point in enumerate(points):
            if all(is_same(value, own_value(self.current, option)) for option, value in point.items()):
                return position
        own = {option: own_value(self.current, option) for option in points[0]}
        raise ConfigError(
            f"study.probe: the axis {', '.join(own)} of arm {self.arm} lacks the value that the arm has "
            f"({', '.join(map(value_text, own.values()))}). Add it, or write factors: x0.5, x1, x2"
        )

    def add(
        self,
        points: Sequence[Point],
        own: int,
        composed: Sequence[ComposedRun],
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Keep the best point of an axis; the arm's own one if none is better. composed: the run of each point.
        ranges: as of AxisResult.
        """
        best = min(range(len(points)), key=lambda at: (points[at].mean_bpb, at != own))
        best = own if math.isinf(points[best].mean_bpb) else best
        if best != own:
            self.chosen |= points[best].values
        self.results.append(AxisResult(tuple(points), best, own, ranges))
        self.current = composed[best]

    @property
    def trials(self) -> int:
        """The number of different configurations that were run."""
        return len({point.fingerprint for result in self.results for point in result.points})

    @property
    def ended_at(self) -> float:
        return max(point.ended_at for result in self.results for point in result.points)

    def outcome(self) -> ArmProbe:
        options = tuple(option for axis in self.axes for option in axis)
        at_end = tuple(option for result in self.results for option in result.at_end)
        return ArmProbe(self.arm, self.trials, options, dict(self.chosen), at_end)


def is_near_end(value: float, low: float, high: float) -> bool:
    """Whether a number is in an outer tenth of its range, of its logarithms if all are positive."""
    if low > 0:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return not low + (high - low) / 10 < value < high - (high - low) / 10


def own_value(run: ComposedRun, option: str) -> Any:
    """The value of an option, or the choice of a config group, in a configuration. Raises ConfigError without one."""
    if option in run.choices:
        return run.choices[option]
    section, _, key = option.rpartition(".")
    node = node_at(run.resolved, section)
    if not isinstance(node, Mapping) or key not in node:
        raise ConfigError(
            f"study.probe: {option} is not an option of arm {run.resolved['study']['arm']} (axes). Name one that "
            "pgolf.train --cfg job prints, or a config group"
        )
    return node[key]


def is_same(a: Any, b: Any) -> bool:
    return math.isclose(a, b, rel_tol=1e-9) if is_number(a) and is_number(b) else bool(a == b)


def value_text(value: Any) -> str:
    """A value as an override has it."""
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )
