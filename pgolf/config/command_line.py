"""Composes and checks every run of a command line before anything is started or written."""

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
from pgolf.config.composed_run import (
    ComposedRun,
    CompositionCache,
    compose_run,
    compose_whole,
    is_hydras,
    parse,
    raise_if,
)
from pgolf.config.expansion import is_basic, replaced_sweep_keys, sweep_runs, value_problems
from pgolf.config.hydra_messages import describe_hydra_error
from pgolf.config.identity import with_seed_mark
from pgolf.config.overrides import (
    ARM,
    EXTRAS,
    LAUNCHER,
    STUDY,
    group_problems,
    is_group,
    key_problems,
    key_refusals,
    value_text,
)
from pgolf.config.path_values import quote_paths
from pgolf.config.ranges import range_problem
from pgolf.config.search_path import own_folder_problems, use_search_path
from pgolf.config.space import Space, is_search, search_space
from pgolf.config.study import study_of, study_problems
from pgolf.errors import ConfigError, PgolfError

MANY_RUNS = 50  # beyond this number, the checks take so long that they are announced
DRY = re.compile(r"launch\.dry_run=(true|on|yes|y|1)", re.IGNORECASE)


@dataclass(frozen=True)
class CommandLine:
    """A command line after all checks.

    runs: in the order of the sweep. in_sweep: whether they belong to a sweep. whole: the configuration of the overrides
    that are not swept, with the section `hydra`. is_enumerated: False if another sweeper than Hydra's basic sweeper
    chooses the swept values; it then composes the runs itself. For such a sweeper, replaced_sweep_keys are the keys
    that the study sweeps and the command line sets, and deferred are the overrides that need a swept choice. space: of
    a search with hydra/sweeper=optuna, whose runs here are the corners of the space.
    """

    runs: tuple[ComposedRun, ...]
    in_sweep: bool
    whole: DictConfig
    is_enumerated: bool = True
    replaced_sweep_keys: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    space: Space | None = None


def preflight(arguments: Sequence[str], *, multirun: bool, check_machine: bool = True) -> CommandLine:
    """Compose and check every run. Raises ConfigError with all problems at once.

    multirun: whether the flag --multirun is given. check_machine: report missing resources of this machine as problems
    too, except with launch.dry_run=true.
    """
    arguments = use_search_path(arguments)
    raise_if(list(own_folder_problems()))
    with composer():
        check_machine = check_machine and not any(DRY.fullmatch(text) for text in arguments)
        arguments, unavailable = (
            (quote_paths(arguments), []) if check_machine else without_launchers(quote_paths(arguments))
        )
        loader = GlobalHydra.instance().config_loader()
        overrides = parse(arguments, loader)
        checks = (group_problems, key_refusals, value_problems)
        raise_if([problem for o in overrides for check in checks for problem in check(o, loader)])
        check_keys(arguments, overrides, loader)
        unswept = [(a, o) for a, o in zip(arguments, overrides, strict=True) if not o.is_sweep_override()]
        whole, deferred = compose_unswept(unswept, loader)
        space = None
        in_sweep = multirun or whole.hydra.mode == RunMode.MULTIRUN
        if in_sweep:
            raise_if(batch_problems(whole))
            space = search_space(arguments, overrides, whole.hydra) if is_search(whole.hydra) else None
            all_overrides = (
                space.corners() if space else sweep_runs(arguments, overrides, whole.hydra, loader, most_runs(whole))
            )
        else:
            sweeps = [o for o in overrides if o.is_sweep_override()]
            remedy = "Add --multirun to sweep over them"
            raise_if([f"{o.key_or_group}: more than one value ({value_text(o)}). {remedy}" for o in sweeps])
            all_overrides = [list({o.get_key_element(): text for text, o in unswept}.values())]  # the last of each key
        if not all_overrides:
            raise ConfigError(f"--multirun: no run is selected ({' '.join(arguments)}). Check the ranges and globs")
        try:
            runs = check_runs(all_overrides, loader, check_machine=check_machine)
        except ConfigError as error:
            raise_if([*([] if deferred else study_problems(whole)), *error.problems])
            raise
        study_of(runs[0])  # raises its problems
        return CommandLine(
            tuple(replace(run, unavailable=(*unavailable, *run.unavailable)) for run in runs),
            in_sweep,
            whole,
            not in_sweep or is_basic(whole.hydra),
            replaced_sweep_keys(overrides, whole.hydra),
            deferred,
            space,
        )


def batch_problems(whole: DictConfig) -> list[str]:
    """Problems of hydra.sweeper.max_batch_size, which a YAML file may set too."""
    problem = range_problem("hydra.sweeper.max_batch_size", whole.hydra.sweeper.get("max_batch_size"))
    return [] if problem is None else [problem]


def most_runs(whole: DictConfig) -> int:
    """launch.most_runs, which is needed before the other options are checked. Raises ConfigError."""
    try:
        return int(whole.launch.most_runs)
    except OmegaConfBaseException as error:
        raise ConfigError(describe_hydra_error(error)) from None


def compose_one(arguments: Sequence[str], *, check_machine: bool = True) -> ComposedRun:
    """The first run of a command line that selects a single configuration, with any seeds.

    Raises ConfigError with all problems, or if the command line selects several configurations.
    """
    runs = preflight(arguments, multirun=False, check_machine=check_machine).runs
    distinct = {json.dumps(plain(with_seed_mark(run.cfg)), sort_keys=True) for run in runs}
    if len(distinct) > 1:
        raise ConfigError(
            f"This selects {len(distinct)} configurations ({' '.join(arguments)}). Select one, for example with arm=..."
        )
    return runs[0]


def compose_each(command_lines: Sequence[Sequence[str]]) -> list[ComposedRun]:
    """The run of each of several command lines, which select a single run each. The last value of a key counts.

    Raises ConfigError with all problems.
    """
    with composer():
        loader = GlobalHydra.instance().config_loader()
        quoted = [
            list({text.partition("=")[0]: text for text in quote_paths(arguments)}.values())
            for arguments in command_lines
        ]
        overrides = parse(list(dict.fromkeys(text for arguments in quoted for text in arguments)), loader)
        raise_if(
            [problem for o in overrides for check in (group_problems, key_refusals) for problem in check(o, loader)]
        )
        return check_runs(quoted, loader, check_machine=True)


def without_launchers(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(arguments without the launchers that are not installed, one problem per such launcher)."""
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
    """Raise ConfigError for keys that do not exist with the chosen groups.

    If a choice is swept, nothing is checked here: each run is checked later.
    """
    groups = [(text, o) for text, o in zip(arguments, overrides, strict=True) if is_group(o, loader)]
    if len(groups) == len(overrides) or any(o.is_sweep_override() for _, o in groups):
        return
    base = compose_unswept(groups, loader)[0]
    if not base.hydra.sweeper.get("params"):
        raise_if([p for o in overrides if not is_group(o, loader) for p in key_problems(o, base, loader)])


def compose_unswept(
    unswept: Sequence[tuple[str, Override]], loader: ConfigLoader
) -> tuple[DictConfig, tuple[str, ...]]:
    """Compose the overrides that are not swept. Returns the configuration and the overrides that were left out.

    If the values cannot be composed, only choices and options of Hydra are. All other values are left out. A value may
    be invalid, which the checks of each run report more precisely. Or it may need a swept choice, as in
    `model/head=factorized,mos model.head.rank=8`. Raises ConfigError.
    """
    try:
        return compose_whole(unswept, loader), ()
    except (HydraException, OmegaConfBaseException) as error:
        kept = [(text, o) for text, o in unswept if is_group(o, loader) or is_hydras(o)]
        if len(kept) < len(unswept):
            return compose_unswept(kept, loader)[0], tuple(text for text, o in unswept if (text, o) not in kept)
        raise ConfigError(describe_hydra_error(error)) from None
    except (AssertionError, AttributeError, TypeError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        of_a_file = "default" in reason.lower()  # of its list of defaults
        remedy = "Correct the list of defaults there" if of_a_file else "Give sweeps as key=a,b,c on the command line"
        raise ConfigError(f"hydra: cannot be composed ({reason}). {remedy}") from None


@dataclass(frozen=True)
class CheckResult:
    """problems: of a configuration on any machine. unavailable: on this machine. run: None if there are problems."""

    problems: Sequence[str]
    unavailable: Sequence[str] = ()
    run: ComposedRun | None = None


def check_runs(all_overrides: list[list[str]], loader: ConfigLoader, *, check_machine: bool) -> list[ComposedRun]:
    """Compose and check the runs; the seeds of one arm are checked once. Raises ConfigError with all problems."""
    runs: list[ComposedRun] = []
    cache = CompositionCache()
    results: dict[tuple[str, ...], CheckResult] = {}
    where: dict[str, list[int]] = {}
    for number, arguments in enumerate(all_overrides):
        if number == MANY_RUNS and not where:
            print(f"{len(all_overrides):,} runs; each is checked before the first starts", file=sys.stderr, flush=True)
        own_seed = any(text.startswith("train.from=") for text in arguments)  # each seed has its own parent
        but_seed = tuple(text for text in arguments if own_seed or not text.startswith("seed="))
        is_first = but_seed not in results
        if is_first:
            results[but_seed] = check_run(arguments, loader, cache)
        result = results[but_seed]
        if result.run is not None:
            run = result.run if is_first else compose_run(arguments, loader, cache)
            runs.append(replace(run, unavailable=tuple(result.unavailable)))
        for problem in (*result.problems, *(result.unavailable if check_machine else ())):
            where.setdefault(problem, []).append(number)
    lines: list[str] = []
    for problem, numbers in where.items():
        lines.append(problem)
        if len(all_overrides) > 1 and len(numbers) < len(all_overrides):
            first = " ".join(all_overrides[numbers[0]])
            lines.append(f"  in {len(numbers)} of {len(all_overrides)} runs, the first: {first}")
    raise_if(lines)
    return runs


def check_run(arguments: Sequence[str], loader: ConfigLoader, cache: CompositionCache) -> CheckResult:
    """Compose and check one run. Raises nothing."""
    try:
        run = compose_run(arguments, loader, cache)
        plain(with_seed_mark(run.cfg))  # the fingerprint needs it, so it must resolve too
        if problems := [*arm_problems(run), *problems_of(run.resolved)]:
            return CheckResult(problems)
        return CheckResult([], shortages(run.config), run)
    except ConfigError as error:
        return CheckResult(error.problems)
    except PgolfError as error:
        return CheckResult([str(error)])
    except Exception as error:  # a component of the user may raise anything
        return CheckResult([f"{' '.join(arguments)}: cannot be checked ({type(error).__name__}: {error})"])


def arm_problems(run: ComposedRun) -> list[str]:
    """Problems of an arm that is chosen without its study, or with another corpus than it requires."""
    arm, study, data, required = run.choices[ARM], run.choices[STUDY], run.choices["data"], run.cfg.study.data
    if arm is not None and (own := str(arm).split("/")[0]) != study:
        return [f"arm: belongs to study={own}, not to study={study} ({arm}). Write study={own} arm={arm}"]
    name, file = run.cfg.study.arm, str(arm).split("/")[-1]
    if arm is not None and name != file:
        return [f"study.arm: must be the name of the arm's YAML file, {file} ({name}). Rename one of them"]
    if required and data != required:
        return [
            f"data: the arm {arm} requires data={required} ({data}). Leave data= out for this arm, and run the other "
            f"arms with a command of their own, study={study} data={data} arm=..."
        ]
    return []
