"""The probe of a study: which options of every arm are searched before its seeds, and what a search has found.

An axis is a table of options with equally many values each: the n-th values together are one point. A value `x2` is
twice the arm's own value. Of k axes with n1, ..., nk points a search needs 1 + (n1 - 1) + ... + (nk - 1) trials, since
the best point of an axis is a point of the next one, too. With `sampler: tpe` all options are searched together, and
the values of a number only give its range.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pgolf.errors import ConfigError, DamagedFile
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed
from pgolf.records.kinds import is_number

SUFFIX = "-probe"  # of the name of a study while it is probed
PROBE = "probe.json"  # in the folder of a probe
REMEDY = "Move the file; the same probe writes it again"
FACTOR = re.compile(r"x(\d+(?:\.\d*)?(?:e-?\d+)?)")
SHORT = 12  # hex digits of a hash in a sentence

Axis = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class ProbePlan:
    """The section `study.probe` of a YAML file.

    trials: configurations per arm, the same for every arm. seeds: of each trial; none that the study uses. targets:
    roughly the number of targets that a trial is scored on. axes: of every arm without a list of its own. arms: {name
    or glob of arms: list of axes}. sampler: grid searches one axis after another, tpe all of them together. earlier:
    how the options that the arms have now were found.
    """

    trials: int
    seeds: tuple[int, ...]
    targets: int
    axes: tuple[Mapping[str, tuple[Any, ...]], ...] = ()
    arms: Mapping[str, tuple[Mapping[str, tuple[Any, ...]], ...]] = field(default_factory=dict)
    sampler: Literal["grid", "tpe"] = "grid"
    earlier: str = ""

    def axes_of(self, arm: str) -> tuple[Axis, ...]:
        """The axes of an arm: its own, else those of the first glob that matches, else the common ones."""
        matching = [axes for pattern, axes in self.arms.items() if fnmatchcase(arm, pattern)]
        return self.arms.get(arm, (matching or [self.axes])[0])


@dataclass(frozen=True)
class ArmProbe:
    """What was tried for one arm. options: those of its axes. chosen: the best values of those that were changed.
    at_end: options whose best value lies at the end of its range.
    """

    arm: str
    trials: int
    options: tuple[str, ...]
    chosen: Mapping[str, Any]
    at_end: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A probe that has ended. text: what was scored, in words. val_text_sha: SHA-256 of that text, by corpus. ended_at:
    of its last run, Unix time in seconds. is_late: the study had begun before, so that its runs cannot follow from it.
    """

    seeds: tuple[int, ...]
    text: str
    val_text_sha: tuple[str, ...]
    arms: tuple[ArmProbe, ...]
    ended_at: float
    is_late: bool = False

    @property
    def budget(self) -> str:
        """What the search cost, for readers of the study's tables."""
        trials = sorted({arm.trials for arm in self.arms})
        at_end = [f"{arm.arm} {option}" for arm in self.arms for option in arm.at_end]
        ends = f" The best value lies at the end of its range: {', '.join(at_end)}." if at_end else ""
        late = " It ended after the first runs of the study had begun." if self.is_late else ""
        hashes = ", ".join(sha[:SHORT] for sha in self.val_text_sha)
        return (
            f"{' or '.join(map(str, trials))} trials for each of {len(self.arms)} arms, seed "
            f"{', '.join(map(str, self.seeds))}, scored on {self.text} (val_text_sha {hashes}).{late}{ends}"
        )


def probe_folder(study: str, scale: str) -> str:
    """The name of the folder of a probe. study: the name of the study's folder, which may end with the scale."""
    name = study.removesuffix(f"-{scale}")
    return f"{name}{SUFFIX}" + study.removeprefix(name)


def trials_of(axes: Sequence[Axis]) -> int:
    """The number of trials of a coordinate search."""
    return 1 + sum(len(points_of(axis)) - 1 for axis in axes)


def points_of(axis: Axis) -> list[dict[str, Any]]:
    """The points of an axis: {option: value}."""
    return [dict(zip(axis, values, strict=True)) for values in zip(*axis.values(), strict=True)]


def plan_from(section: Mapping[str, Any]) -> ProbePlan:
    """The plan of a section `study.probe`. Raises ValueError for an invalid one."""
    plan = typed(ProbePlan, section)
    problems = [] if plan.trials >= 2 else [f"trials must be 2 or more ({plan.trials})"]
    if not plan.seeds or min(plan.seeds) < 0 or len(set(plan.seeds)) < len(plan.seeds):
        problems.append(f"seeds must be different whole numbers, 0 or more ({list(plan.seeds)})")
    if plan.targets < 1:
        problems.append(f"targets must be 1 or more ({plan.targets})")
    for name, axes in (("axes", plan.axes), *((f"arms.{arm}", axes) for arm, axes in plan.arms.items())):
        problems += [f"{name} {problem}" for problem in axes_problems(axes)]
    if problems:
        raise ValueError("; ".join(problems))
    return plan


def axes_problems(axes: Sequence[Axis]) -> Iterable[str]:
    """What is wrong with a list of axes."""
    seen: set[str] = set()
    for axis in axes:
        lengths = {option: len(values) for option, values in axis.items()}
        if len(set(lengths.values())) != 1 or min(lengths.values(), default=0) < 2:
            yield f"need two or more values per axis, as many for each option of one axis ({dict(axis)!r:.80})"
            continue
        if len({json.dumps(point, default=str) for point in points_of(axis)}) < min(lengths.values()):
            yield f"hold a value twice ({dict(axis)!r:.80})"
        if odd := [value for values in axis.values() for value in values if not is_scalar(value)]:
            yield f"hold a value that is not a number, a word, true, false or null ({odd[0]!r:.60})"
        if again := sorted(seen & axis.keys()):
            yield f"name {again[0]} twice. Put its values into one axis"
        seen |= axis.keys()


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str)


def value_at(value: Any, own: Any, option: str) -> Any:
    """The value of a point. `x2` is twice `own`, the arm's own value. Raises ConfigError if that is not a number."""
    factor = FACTOR.fullmatch(value) if isinstance(value, str) else None
    if factor is None:
        return value
    if not is_number(own):
        raise ConfigError(f"study.probe: {option} has no number to multiply ({own}). Give values instead of {value}")
    product = float(f"{own * float(factor[1]):.12g}")
    return int(product) if isinstance(own, int) and product.is_integer() else product


def write_probe(folder: Path, probe: Probe) -> None:
    """Write probe.json into the folder of a probe. Raises OSError."""
    write_lines(folder / PROBE, [json.dumps(asdict(probe), indent=1) + "\n"])


def read_probe(folder: Path) -> Probe | None:
    """The probe of a folder; None if none has ended there. Raises DamagedFile."""
    path = folder / PROBE
    try:
        return typed(Probe, read_json(path, REMEDY))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedFile(path, f"is not the result of a probe: {error}", REMEDY) from None
