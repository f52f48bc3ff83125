"""Expands the sweeps of a command line to the overrides of every run, and counts the runs before composing any."""

import math
from collections.abc import Iterator, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig

from pgolf.config.overrides import group_exists, value_text
from pgolf.config.ranges import range_problem
from pgolf.errors import ConfigError


def is_basic(hydra: DictConfig) -> bool:
    """Whether Hydra's basic sweeper is chosen. hydra: the section of that name."""
    return str(hydra.sweeper._target_).endswith("BasicSweeper")


def replaced_sweep_keys(overrides: Sequence[Override], hydra: DictConfig) -> tuple[str, ...]:
    """Keys of hydra.sweeper.params that the command line also gives, and thereby replaces."""
    params = hydra.sweeper.get("params") or {}
    return tuple(key for key in params if any(override.key_or_group == key for override in overrides))


def seeds_of_file(hydra: DictConfig) -> tuple[int, ...]:
    """The seeds that a study's file sweeps, in order; empty without any. Those of a command line are not among them."""
    text = (hydra.sweeper.get("params") or {}).get("seed")
    if text is None:
        return ()
    override = OverridesParser.create().parse_override(f"seed={text}")
    values = override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]
    words = [str(value) for value in values]
    return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()


def sweep_of_one(text: str) -> str:
    """An override with its value as a sweep over that one value; other text unchanged.

    Hydra's sweepers first compose the overrides that are not swept. A value that needs a swept choice would fail there.
    """
    key, is_value, value = text.partition("=")
    return f"{key}=choice({value})" if is_value and not key.startswith(("hydra.", "~")) else text


def value_problems(override: Override, loader: ConfigLoader) -> Iterator[str]:
    """Numbers out of range, and sweeps without a value."""
    path, value = override.key_or_group, override._value
    if isinstance(value, RangeSweep):
        ends = (value.start, value.stop, value.step)
        if not all(isinstance(end, int) or (end is not None and math.isfinite(end)) for end in ends) or value.step == 0:
            yield (
                f"{path}: needs finite ends and a step that is not 0 ({value_text(override)}). Write "
                "range(START,STOP,STEP)"
            )
        elif number_of_values(override, loader) == 0:
            yield (
                f"{path}: sweeps over no value ({value_text(override)}). Write range(START,STOP,STEP); STOP is excluded"
            )
        else:
            first, last = value.start, value.stop
            last = last - 1 if isinstance(last, int) else last
            yield from filter(None, dict.fromkeys((range_problem(path, first), range_problem(path, last))))
    elif group_exists(path, loader) and override.is_sweep_override() and number_of_values(override, loader) == 0:
        yield f"{path}: sweeps over no value ({value_text(override)}). --help shows the choices"
    elif override.is_sweep_override() and not isinstance(value, ChoiceSweep) and not group_exists(path, loader):
        if not hasattr(value, "end"):  # it is not an interval, from which other sweepers draw values
            yield f"{path}: glob works only for config groups ({value_text(override)}). Write the values: {path}=A,B"
    elif isinstance(value, ChoiceSweep):
        yield from filter(None, dict.fromkeys(range_problem(path, item) for item in value.list))
    elif problem := range_problem(path, value):
        yield problem


def number_of_values(override: Override, loader: ConfigLoader) -> int:
    """The number of values of a swept override; 1 for an override that is not swept."""
    value = override._value
    if isinstance(value, RangeSweep):
        start, stop, step = value.start, value.stop, value.step
        assert start is not None
        assert stop is not None
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            return max(0, -((start - stop) // step))
        return max(0, math.ceil((stop - start) / step))
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    return len(list(override.sweep_iterator())) if override.is_discrete_sweep() else 1


def rendered(override: Override) -> str:
    """An override as Hydra's sweeper writes it: special characters are escaped."""
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def interpolations(override: Override) -> dict[str, str]:
    """{override as Hydra's sweeper writes it: override} of each swept value that is an interpolation.

    The sweeper escapes it, and Hydra then refuses it.
    """
    values = override._value.list if isinstance(override._value, ChoiceSweep) else []
    key = override.get_key_element()
    return {
        f"{key}={Override._get_value_element_as_str(value)}": f"{key}={value}"
        for value in values
        if isinstance(value, str) and "${" in value
    }


def sweep_runs(
    arguments: Sequence[str], overrides: list[Override], hydra: DictConfig, loader: ConfigLoader, most_runs: int
) -> list[list[str]]:
    """The overrides of every run, from `hydra.sweeper.params` and the arguments, in the order of Hydra's basic sweeper.

    A key of the parameters keeps its place in their order if the arguments replace its values. So the seed of a study
    stays its outer loop, and an interrupted sweep has whole pairs. The runs of another sweeper are unknown in advance:
    one run with the overrides that are not swept represents them.
    hydra: the section of that name. Raises ConfigError, also for more than `most_runs` runs.
    """
    if not is_basic(hydra):
        return [[a for a, o in zip(arguments, overrides, strict=True) if not o.is_sweep_override()]]
    replaced = replaced_sweep_keys(overrides, hydra)
    params = hydra.sweeper.params or {}
    place = {key: number for number, key in enumerate(params)}
    given = [(o.key_or_group, text) for text, o in zip(arguments, overrides, strict=True)]
    own = [(key, f"{key}={value}") for key, value in params.items() if key not in replaced]
    words = [text for _, text in sorted([*own, *given], key=lambda pair: place.get(pair[0], len(place)))]
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(words)
        number = math.prod(number_of_values(override, loader) for override in parsed)
        if number > most_runs:
            allow = (
                "" if range_problem("launch.most_runs", number) else f", or allow them with launch.most_runs={number}"
            )
            raise ConfigError(
                f"--multirun: the sweep has {number:,} runs, more than launch.most_runs={most_runs:,}. Sweep over "
                f"fewer values{allow}"
            )
        (runs,) = BasicSweeper.split_arguments(parsed, None)
        pairs = zip(words, parsed, strict=True)
        texts = {rendered(override): text for text, override in pairs if not override.is_sweep_override()}
        texts |= {text: plain for override in parsed for text, plain in interpolations(override).items()}
    except HydraException as error:
        reason = str(error).splitlines()[0]
        if "does not support sweep type" in reason:
            reason = "takes lists, ranges and globs (interval). Write A,B,C, or search with hydra/sweeper=optuna"
        raise ConfigError(f"--multirun: {reason}") from None
    return [[texts.get(text, text) for text in run] for run in runs]
