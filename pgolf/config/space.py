"""The space of a search: which options it chooses, from which values. It is written in the grammar of Hydra's sweeps.

key=interval(LOW,HIGH)             a number between two ends
key=int(interval(LOW,HIGH))        a whole number
key=tag(log,interval(LOW,HIGH))    its logarithm is what is spread evenly
key=range(START,STOP,STEP)         a number on a grid; STOP is excluded, as in a sweep
key=A,B,C or key=choice(A,B,C)     one of several values, or choices of a config group
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from pgolf.config.overrides import value_text
from pgolf.errors import ConfigError, suggest
from pgolf.machine.typed import typed

SWEEPER = "hydra.sweeper"
SAMPLERS = ("tpe", "random")
DIGITS = 4  # significant digits of a drawn number
LARGEST_SEED = 2**32 - 1
MOST_TRIALS = 100_000
SEED = "seed"
Value = int | float | str


@dataclass(frozen=True)
class SearchSettings:
    """The options of hydra/sweeper=optuna, explained in its YAML file."""

    sampler: str
    n_trials: int
    n_jobs: int
    seed: int
    direction: str
    prune_percentile: float | None
    prune_after_trials: int
    prune_after_step: int


@dataclass(frozen=True)
class Dimension:
    """One option of the space. low, high: ends of a number, both included. step: of a grid. choices: as written."""

    key: str
    kind: Literal["int", "float", "choice"]
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    def edges(self) -> list[Value]:
        """The values at the ends of the dimension, or all its choices: they are checked before the search."""
        return list(self.choices) if self.kind == "choice" else [self.rounded(self.low), self.rounded(self.high)]

    def rounded(self, value: Value) -> Value:
        """A drawn value with DIGITS significant digits, so that names of runs stay short; never beyond an end."""
        if self.kind == "choice" or isinstance(value, str):
            return value
        if self.kind == "int":
            return int(value)
        digits = DIGITS if self.step is None else 12
        return min(max(float(f"{value:.{digits}g}"), float(self.low)), float(self.high))

    def holds(self, value: Value) -> bool:
        """Whether the dimension has a value."""
        if self.kind == "choice":
            return value in self.choices
        is_kind = type(value) is int if self.kind == "int" else type(value) is float
        return is_kind and self.low <= float(value) <= self.high


@dataclass(frozen=True)
class Space:
    """What a search chooses. fixed: the overrides of all trials. seeds: of each trial."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]
    seeds: tuple[int, ...]

    def words(self, values: Mapping[str, Value], seed: int) -> list[str]:
        """The overrides of one run of a trial."""
        return [*self.fixed, *chosen_words(values), f"{SEED}={seed}"]

    def corners(self) -> list[list[str]]:
        """The overrides of runs that have every end and every choice of every dimension once."""
        edges = {dimension.key: dimension.edges() for dimension in self.dimensions}
        first = {key: values[0] for key, values in edges.items()}
        points = [first, *({**first, key: value} for key, values in edges.items() for value in values[1:])]
        return [self.words(point, self.seeds[0]) for point in points]


def chosen_words(values: Mapping[str, Value]) -> list[str]:
    """The values of a trial as overrides."""
    return [f"{key}={value}" for key, value in values.items()]


def is_search(hydra: DictConfig) -> bool:
    """Whether hydra/sweeper=optuna of pgolf is chosen. hydra: the section of that name."""
    return str(hydra.sweeper._target_) == f"{SearchSettings.__module__}.{SearchSettings.__name__}"


def check_optuna(option: str, value: str) -> None:
    """Raise ConfigError for an option that needs Optuna, if it is not installed."""
    if find_spec("optuna") is None:
        raise ConfigError(f"{option}: optuna is not installed ({value}). Run pip install 'pgolf[search]'")


def settings_of(hydra: DictConfig) -> SearchSettings:
    """The options of the sweeper. Raises ConfigError with all problems."""
    check_optuna("hydra/sweeper", "optuna")
    names = SearchSettings.__dataclass_fields__
    section: Any = OmegaConf.to_container(hydra.sweeper, resolve=True)
    try:
        settings = typed(SearchSettings, {key: value for key, value in section.items() if key in names}, SWEEPER)
    except ValueError as error:
        where, _, what = str(error).partition(" ")
        raise ConfigError(f"{where}: {what}. conf/hydra/sweeper/optuna.yaml says what it means") from None
    whole = (
        ("n_trials", 1, MOST_TRIALS),
        ("n_jobs", 1, MOST_TRIALS),
        ("seed", 0, LARGEST_SEED),
        ("prune_after_trials", 1, MOST_TRIALS),
        ("prune_after_step", 0, 10**12),
    )
    problems = [
        f"{SWEEPER}.{name}: must be from {least:,} to {most:,} ({getattr(settings, name)}). Give a whole number there"
        for name, least, most in whole
        if not least <= getattr(settings, name) <= most
    ]
    if settings.sampler not in SAMPLERS:
        near = suggest(settings.sampler, SAMPLERS)
        problems.append(f"{SWEEPER}.sampler: no such sampler ({settings.sampler}).{near} Samplers: tpe, random")
    if settings.direction != "minimize":
        problems.append(f"{SWEEPER}.direction: must be minimize ({settings.direction}). The score is bits per byte")
    if settings.prune_percentile is not None and not 0 < settings.prune_percentile < 100:
        problems.append(
            f"{SWEEPER}.prune_percentile: must be between 0 and 100 ({settings.prune_percentile:g}). 50 is the median"
        )
    if problems:
        raise ConfigError(*problems)
    return settings


def space_of(pairs: Sequence[tuple[str, Override]]) -> Space:
    """The space of the overrides. pairs: (text, override) of each. Raises ConfigError with all problems."""
    dimensions, problems, fixed = [], [], {}
    seeds: list[int] = []
    for text, override in pairs:
        if override.key_or_group == SEED:
            problems += seed_problems(override)
            seeds = [] if problems else seeds_of(override)
        elif override.is_sweep_override():
            found = dimension_problems(override)
            problems += found
            dimensions += [] if found else [dimension_of(override)]
        else:
            fixed[override.get_key_element()] = text  # the last of each key
    keys = [dimension.key for dimension in dimensions]
    problems += [
        f"{key}: is given twice ({key}). Leave one of them out" for key in {k for k in keys if keys.count(k) > 1}
    ]
    if not problems and not dimensions:
        problems.append(
            "hydra/sweeper: optuna has no option to choose (optuna). Write one as a space, such as "
            "'optim.roles.matrix.lr=tag(log,interval(0.01,0.2))'"
        )
    if problems:
        raise ConfigError(*problems)
    return Space(tuple(dimensions), tuple(fixed.values()), tuple(seeds) or (1,))


def search_space(arguments: Sequence[str], overrides: Sequence[Override], hydra: DictConfig) -> Space:
    """The space of a command line, with that of hydra.sweeper.params. Raises ConfigError with all problems.

    hydra: the section of that name. arguments: the text of each override.
    """
    settings_of(hydra)
    study = hydra.runtime.choices.get("study")
    if study != "adhoc":
        raise ConfigError(
            f"study: cannot be searched by hydra/sweeper=optuna ({study}). python -m pgolf.probe {study} searches the "
            "options of its arms with equal budgets"
        )
    given = {override.key_or_group for override in overrides}
    params = {key: value for key, value in (hydra.sweeper.get("params") or {}).items() if key not in given}
    texts = [f"{key}={value}" for key, value in params.items()]
    try:
        own = OverridesParser.create().parse_overrides(texts)
    except HydraException as error:
        raise ConfigError(
            f"{SWEEPER}.params: cannot be read ({str(error).splitlines()[0]}). Write key: value"
        ) from None
    return space_of([*zip(texts, own, strict=True), *zip(arguments, overrides, strict=True)])


def seeds_of(override: Override) -> list[Any]:
    """The values of an override of the seed, each once."""
    return list(dict.fromkeys(override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]))


def seed_problems(override: Override) -> list[str]:
    """Problems of the seeds of a search."""
    if isinstance(override._value, IntervalSweep):
        return [
            f"{SEED}: cannot be searched ({value_text(override)}). Give seeds as seed=1,2; the score of a trial is the "
            "mean over them"
        ]
    if not all(type(value) is int and value >= 0 for value in seeds_of(override)):
        return [f"{SEED}: must be a whole number of 0 or more ({value_text(override)}). Give seeds as seed=1,2"]
    return []


def dimension_problems(override: Override) -> list[str]:
    """Problems of the space of one option."""
    path, value, text = override.key_or_group, override._value, value_text(override)
    is_log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            return [f"{path}: needs two finite ends ({text}). Write interval(LOW,HIGH)"]
        if low >= high:
            return [f"{path}: its low end is not below its high end ({text}). Write interval(LOW,HIGH)"]
        if is_log and low <= 0:
            return [f"{path}: a logarithm needs ends above 0 ({text}). Raise the low end, or leave tag(log,...) out"]
    elif is_log:
        return [f"{path}: tag(log,...) works only with an interval ({text}). Write tag(log,int(interval(LOW,HIGH)))"]
    return []


def dimension_of(override: Override) -> Dimension:
    """The dimension of a valid override."""
    key, value = override.get_key_element(), override._value
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        is_int = isinstance(value.start, int) and isinstance(value.end, int)
        return Dimension(key, "int" if is_int else "float", value.start, value.end, log="log" in value.tags)
    if isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        number = max(1, math.ceil((value.stop - value.start) / value.step - 1e-9))
        last = value.start + (number - 1) * value.step
        is_int = isinstance(value.start, int) and isinstance(last, int)
        low, high = sorted((value.start, last if is_int else float(f"{last:.12g}")))
        return Dimension(key, "int" if is_int else "float", low, high, abs(value.step))
    return Dimension(key, "choice", choices=tuple(dict.fromkeys(override.sweep_string_iterator())))
