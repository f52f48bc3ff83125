"""Composes and checks every run of a command line before anything is started: nothing is on disk when it refuses."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.auto import shortages
from pgolf.config.checks import problems_of
from pgolf.config.compose import composer, plain
from pgolf.config.composition import ComposedRun, CompositionCache, compose_run, composed_with, parse, raise_if
from pgolf.config.expansion import is_basic, replaced_sweep_keys, sweep_runs, value_problems
from pgolf.config.identity import marked
from pgolf.config.overrides import (
    ARM,
    EXTRAS,
    LAUNCHER,
    STUDY,
    group_problems,
    is_group,
    key_problems,
    key_refusals,
    readable,
    shown_value,
)
from pgolf.config.path_values import quoted
from pgolf.errors import ConfigError, PgolfError

MANY_RUNS = 50  # of which more take so long to check that it is said
DRY = re.compile(r"launch\.dry_run=(true|on|yes|y|1)", re.IGNORECASE)


@dataclass(frozen=True)
class CommandLine:
    """A command line after all checks.

    runs: in the order of the sweep. in_sweep: whether they make a sweep. whole: the configuration that the overrides
    give which are not swept, with Hydra's own section. is_enumerated: False where another sweeper than Hydra's basic
    one chooses the rest of each run. Such a sweeper composes by itself. For it, replaced_sweep_keys are keys that a
    study sweeps and the command line gives, and deferred are overrides that cannot be composed without what is swept.
    """

    runs: tuple[ComposedRun, ...]
    in_sweep: bool
    whole: DictConfig
    is_enumerated: bool = True
    replaced_sweep_keys: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()


def preflight(arguments: Sequence[str], *, multirun: bool, check_machine: bool = True) -> CommandLine:
    """Compose and check every run. Raises ConfigError with all problems at once.

    check_machine: what this machine lacks is a problem too. It is not one for launch.dry_run=true.
    """
    with composer():
        check_machine = check_machine and not any(DRY.fullmatch(text) for text in arguments)
        arguments, unavailable = (quoted(arguments), []) if check_machine else without_launchers(quoted(arguments))
        loader = GlobalHydra.instance().config_loader()
        overrides = parse(arguments, loader)
        checks = (group_problems, key_refusals, value_problems)
        raise_if([problem for o in overrides for check in checks for problem in check(o, loader)])
        check_keys(arguments, overrides, loader)
        fixed = [(a, o) for a, o in zip(arguments, overrides, strict=True) if not o.is_sweep_override()]
        whole, deferred = composed_as_far_as(fixed, loader)
        in_sweep = multirun or whole.hydra.mode == RunMode.MULTIRUN
        if in_sweep:
            expanded = sweep_runs(arguments, overrides, whole.hydra, loader, most_runs(whole))
        else:
            swept = [o for o in overrides if o.is_sweep_override()]
            remedy = "Add --multirun to sweep over them"
            raise_if([f"{o.key_or_group}: more than one value ({shown_value(o)}). {remedy}" for o in swept])
            expanded = [list(arguments)]
        if not expanded:
            raise ConfigError(f"--multirun: no run is left of {' '.join(arguments)}. Check its ranges and globs")
        runs = check_runs(expanded, loader, check_machine=check_machine)
        return CommandLine(
            tuple(replace(run, unavailable=(*unavailable, *run.unavailable)) for run in runs),
            in_sweep,
            whole,
            not in_sweep or is_basic(whole.hydra),
            replaced_sweep_keys(overrides, whole.hydra),
            deferred,
        )


def most_runs(whole: DictConfig) -> int:
    """launch.most_runs, which is needed before the rest is checked. Raises ConfigError."""
    try:
        return int(whole.launch.most_runs)
    except OmegaConfBaseException as error:
        raise ConfigError(readable(error)) from None


def compose_one(arguments: Sequence[str], *, check_machine: bool = True) -> ComposedRun:
    """The run of a command line that selects one configuration, whatever its seed. Raises ConfigError otherwise."""
    runs = preflight(arguments, multirun=False, check_machine=check_machine).runs
    distinct = {json.dumps(plain(marked(run.composed)), sort_keys=True) for run in runs}
    if len(distinct) > 1:
        raise ConfigError(
            f"This selects {len(distinct)} configurations ({' '.join(arguments)}). Select one, for example with arm=..."
        )
    return runs[0]


def without_launchers(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(arguments without launchers that are not installed, a problem per such launcher)."""
    installed = GlobalHydra.instance().config_loader().get_group_options(LAUNCHER, results_filter=ObjectType.CONFIG)
    remaining, unavailable = [], []
    for text in arguments:
        choice = text.removeprefix(f"{LAUNCHER}=")
        if choice != text and choice in EXTRAS and choice not in installed:
            unavailable.append(f"{LAUNCHER}: {choice} is not installed. Run pip install 'pgolf[{EXTRAS[choice]}]'")
        elif not (text.startswith("hydra.launcher.") and unavailable):
            remaining.append(text)
    return remaining, unavailable


def check_keys(arguments: Sequence[str], overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Raise ConfigError for keys that the choices do not have. Where choices are swept, each run is checked later."""
    groups = [(text, o) for text, o in zip(arguments, overrides, strict=True) if is_group(o, loader)]
    if len(groups) == len(overrides) or any(o.is_sweep_override() for _, o in groups):
        return
    base = composed_as_far_as(groups, loader)[0]
    if not base.hydra.sweeper.get("params"):
        raise_if([p for o in overrides if not is_group(o, loader) for p in key_problems(o, base, loader)])


def composed_as_far_as(
    fixed: Sequence[tuple[str, Override]], loader: ConfigLoader
) -> tuple[DictConfig, tuple[str, ...]]:
    """Compose the overrides that are not swept. Returns the configuration and the overrides that were left out.

    Left out are invalid values, which the checks of each run name better, and values of a swept choice
    (`model/head=factorized,mos model.head.rank=8`), which have no place yet. Raises ConfigError.
    """
    try:
        return composed_with(tuple(text for text, _ in fixed)), ()
    except (HydraException, OmegaConfBaseException) as error:
        groups = [(text, o) for text, o in fixed if is_group(o, loader)]
        if len(groups) < len(fixed):
            return composed_as_far_as(groups, loader)[0], tuple(text for text, o in fixed if not is_group(o, loader))
        raise ConfigError(readable(error)) from None
    except (AssertionError, AttributeError, TypeError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"hydra: cannot be composed ({reason}). Give sweeps as key=a,b,c on the command line"
        ) from None


@dataclass(frozen=True)
class Checked:
    """Problems of one configuration on any machine, and those of this machine alone. run: None if it has problems."""

    problems: Sequence[str]
    unavailable: Sequence[str] = ()
    run: ComposedRun | None = None


def check_runs(expanded: list[list[str]], loader: ConfigLoader, *, check_machine: bool) -> list[ComposedRun]:
    """Compose and check the runs; the seeds of one arm are checked once. Raises ConfigError with all problems."""
    runs: list[ComposedRun] = []
    cache = CompositionCache()
    checked: dict[tuple[str, ...], Checked] = {}
    where: dict[str, list[int]] = {}
    for number, arguments in enumerate(expanded):
        if number == MANY_RUNS and not where:
            print(f"{len(expanded):,} runs; each is checked before the first starts", file=sys.stderr, flush=True)
        own_seed = any(text.startswith("train.from=") for text in arguments)  # each seed has its own parent
        but_seed = tuple(text for text in arguments if own_seed or not text.startswith("seed="))
        is_first = but_seed not in checked
        if is_first:
            checked[but_seed] = check_run(arguments, loader, cache)
        result = checked[but_seed]
        if result.run is not None:
            run = result.run if is_first else compose_run(arguments, loader, cache)
            runs.append(replace(run, unavailable=tuple(result.unavailable)))
        for problem in (*result.problems, *(result.unavailable if check_machine else ())):
            where.setdefault(problem, []).append(number)
    lines = []
    for problem, numbers in where.items():
        lines.append(problem)
        if len(expanded) > 1 and len(numbers) < len(expanded):
            first = " ".join(expanded[numbers[0]])
            lines.append(f"  in {len(numbers)} of {len(expanded)} runs, the first: {first}")
    raise_if(lines)
    return runs


def check_run(arguments: Sequence[str], loader: ConfigLoader, cache: CompositionCache) -> Checked:
    try:
        run = compose_run(arguments, loader, cache)
        resolved = plain(run.composed)
        plain(marked(run.composed))  # the fingerprint is made of it: it must resolve, too
        if problems := [*arm_problems(run), *problems_of(resolved)]:
            return Checked(problems)
        return Checked([], shortages(run.config), run)
    except ConfigError as error:
        return Checked(error.problems)
    except PgolfError as error:
        return Checked([str(error)])
    except Exception as error:  # of a component, which anybody may have written
        return Checked([f"{' '.join(arguments)}: cannot be checked ({type(error).__name__}: {error})"])


def arm_problems(run: ComposedRun) -> list[str]:
    """An arm outside its study, or on another corpus than the one that it is about."""
    arm, study, data, required = run.choices[ARM], run.choices[STUDY], run.choices["data"], run.composed.study.data
    if arm is not None and (own := str(arm).split("/")[0]) != study:
        return [f"arm: belongs to study={own}, not to study={study} ({arm}). Write study={own} arm={arm}"]
    name, file = run.composed.study.arm, str(arm).split("/")[-1]
    if arm is not None and name != file:
        return [f"study.arm: must be the name of the arm's YAML file, {file} ({name}). Rename one of them"]
    if required and data != required:
        return [
            f"data: the arm {arm} is about data={required} ({data}). Leave data= out for this arm, and give the "
            f"others a command of their own: study={study} data={data} arm=..."
        ]
    return []
