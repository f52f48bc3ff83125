"""From a command line with swept values to the overrides of every run: how many there are is known before any is
composed.
"""

import math
from collections.abc import Iterator, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig

from pgolf.config.overrides import group_exists, shown_value
from pgolf.config.ranges import range_problem
from pgolf.errors import ConfigError


def is_basic(hydra: DictConfig) -> bool:
    return str(hydra.sweeper._target_).endswith("BasicSweeper")


def replaced_sweep_keys(overrides: Sequence[Override], hydra: DictConfig) -> tuple[str, ...]:
    """Keys of hydra.sweeper.params that the command line gives too: it beats the study."""
    params = hydra.sweeper.get("params") or {}
    return tuple(key for key in params if any(override.key_or_group == key for override in overrides))


def as_sweep_of_one(text: str) -> str:
    """A value as a sweep over it alone: Hydra's sweeper first composes without what is swept."""
    key, is_value, value = text.partition("=")
    return f"{key}=choice({value})" if is_value and not key.startswith(("hydra.", "~")) else text


def value_problems(override: Override, loader: ConfigLoader) -> Iterator[str]:
    """Numbers out of their range, and sweeps over nothing."""
    path, swept = override.key_or_group, override._value
    if isinstance(swept, RangeSweep):
        ends = (swept.start, swept.stop, swept.step)
        if not all(isinstance(end, int) or (end is not None and math.isfinite(end)) for end in ends) or swept.step == 0:
            yield (
                f"{path}: needs finite ends and a step that is not 0 ({shown_value(override)}). Write "
                "range(START,STOP,STEP)"
            )
        elif number_of_values(override, loader) == 0:
            yield (
                f"{path}: sweeps over no value ({shown_value(override)}). Write range(START,STOP,STEP); STOP is left "
                "out"
            )
        else:
            first, last = swept.start, swept.stop
            last = last - 1 if isinstance(last, int) else last
            yield from filter(None, dict.fromkeys((range_problem(path, first), range_problem(path, last))))
    elif group_exists(path, loader) and override.is_sweep_override() and number_of_values(override, loader) == 0:
        yield f"{path}: sweeps over no value ({shown_value(override)}). --help shows the choices"
    elif override.is_sweep_override() and not isinstance(swept, ChoiceSweep) and not group_exists(path, loader):
        if not hasattr(swept, "end"):  # an interval: for a sweeper that draws from it
            yield (
                f"{path}: glob chooses among the choices of a group ({shown_value(override)}). Write the values: "
                f"{path}=A,B"
            )
    elif isinstance(swept, ChoiceSweep):
        yield from filter(None, dict.fromkeys(range_problem(path, value) for value in swept.list))
    elif problem := range_problem(path, swept):
        yield problem


def number_of_values(override: Override, loader: ConfigLoader) -> int:
    """How many values an override sweeps over; 1 for one that sweeps over none."""
    swept = override._value
    if isinstance(swept, RangeSweep):
        start, stop, step = swept.start, swept.stop, swept.step
        assert start is not None
        assert stop is not None
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            return max(0, -((start - stop) // step))
        return max(0, math.ceil((stop - start) / step))
    if isinstance(swept, ChoiceSweep):
        return len(swept.list)
    return len(list(override.sweep_iterator())) if override.is_discrete_sweep() else 1


def rendered(override: Override) -> str:
    """An override as Hydra's sweeper writes it: special characters are escaped."""
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def sweep_runs(
    arguments: Sequence[str], overrides: list[Override], hydra: DictConfig, loader: ConfigLoader, most_runs: int
) -> list[list[str]]:
    """The overrides of every run as Hydra's basic sweeper makes them, from `hydra.sweeper.params` and the arguments.

    Those of another sweeper are not known before: what is not swept stands for all of them. Raises ConfigError, also
    for more than `most_runs` runs.
    """
    if not is_basic(hydra):
        return [[a for a, o in zip(arguments, overrides, strict=True) if not o.is_sweep_override()]]
    given = replaced_sweep_keys(overrides, hydra)
    params = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items() if key not in given]
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*params, *arguments])
        number = math.prod(number_of_values(override, loader) for override in parsed)
        if number > most_runs:
            allow = (
                "" if range_problem("launch.most_runs", number) else f", or allow them with launch.most_runs={number}"
            )
            raise ConfigError(
                f"--multirun: these are {number:,} runs, more than launch.most_runs={most_runs:,}. Sweep over fewer "
                f"values{allow}"
            )
        (runs,) = BasicSweeper.split_arguments(parsed, None)
        pairs = zip([*params, *arguments], parsed, strict=True)
        texts = {rendered(override): text for text, override in pairs if not override.is_sweep_override()}
    except HydraException as error:
        raise ConfigError(f"--multirun: {str(error).splitlines()[0]}") from None
    return [[texts.get(text, text) for text in run] for run in runs]
