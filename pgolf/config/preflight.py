"""Composes and checks every cell of a command line before Hydra starts anything: nothing is on disk when it refuses."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.auto import lacks_of
from pgolf.config.checks import problems_of
from pgolf.config.compose import CONFIG_NAME, composer, plain
from pgolf.config.expansion import is_basic, replaced_sweep_keys, sweep_cells, value_problems
from pgolf.config.folders import conf_stamp
from pgolf.config.identity import marked
from pgolf.config.inherit import inherit
from pgolf.config.overrides import (
    ARM,
    EXTRAS,
    LAUNCHER,
    STUDY,
    group_problems,
    is_group,
    key_problems,
    key_refusals,
    not_an_override,
    readable,
    shown_value,
)
from pgolf.config.path_values import quoted
from pgolf.errors import ConfigError, PgolfError

MANY_RUNS = 50  # of which more take so long to check that it is said
DRY = re.compile(r"launch\.dry_run=(true|on|yes|y|1)", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """One job of a command line: its overrides, the composed configuration, the choice made in every config group, what
    is lacking here.
    """

    overrides: tuple[str, ...]
    composed: DictConfig
    choices: dict[str, Any]
    in_sweep: bool
    unavailable: tuple[str, ...] = ()
    is_enumerated: bool = True  # False: another sweeper than Hydra's basic one chooses the rest
    launcher: str = ""  # the class of Hydra's launcher
    replaced_sweep_keys: tuple[str, ...] = ()  # keys that a study sweeps and the command line gives itself
    deferred_overrides: tuple[str, ...] = ()  # overrides that Hydra cannot compose without what is swept


def preflight(arguments: Sequence[str], *, multirun: bool, anywhere: bool = False) -> list[Cell]:
    """Every cell, composed and checked. Raises ConfigError with all problems at once.

    What this machine lacks is a problem too, unless the cells are not to be run here: `anywhere`, or
    launch.dry_run=true.
    """
    with composer():
        anywhere = anywhere or any(DRY.fullmatch(text) for text in arguments)
        arguments, lacking = without_launchers(quoted(arguments)) if anywhere else (quoted(arguments), [])
        loader = GlobalHydra.instance().config_loader()
        overrides = parse(arguments, loader)
        raise_if(
            [
                p
                for o in overrides
                for p in (*group_problems(o, loader), *key_refusals(o, loader), *value_problems(o, loader))
            ]
        )
        check_keys(arguments, overrides, loader)
        fixed = [(a, o) for a, o in zip(arguments, overrides, strict=True) if not o.is_sweep_override()]
        whole, deferred_overrides = composed_as_far_as(fixed, loader)
        hydra = whole.hydra
        in_sweep = multirun or hydra.mode == RunMode.MULTIRUN
        if not in_sweep:
            swept = [o for o in overrides if o.is_sweep_override()]
            raise_if(
                [
                    f"{o.key_or_group}: more than one value ({shown_value(o)}). Add --multirun to sweep over them"
                    for o in swept
                ]
            )
        cells = sweep_cells(arguments, overrides, hydra, loader, most_runs(whole)) if in_sweep else [list(arguments)]
        if not cells:
            raise ConfigError(f"--multirun: no run is left of {' '.join(arguments)}. Check its ranges and globs")
        made = check_cells(cells, loader, lacking, in_sweep=in_sweep, anywhere=anywhere)
        is_enumerated = not in_sweep or is_basic(hydra)
        launcher, given = str(hydra.launcher._target_), replaced_sweep_keys(overrides, hydra)
        return [
            replace(
                cell,
                is_enumerated=is_enumerated,
                launcher=launcher,
                replaced_sweep_keys=given,
                deferred_overrides=deferred_overrides,
            )
            for cell in made
        ]


def most_runs(whole: DictConfig) -> int:
    """launch.most_runs, which is needed before the rest is checked. Raises ConfigError."""
    try:
        return int(whole.launch.most_runs)
    except OmegaConfBaseException as error:
        raise ConfigError(readable(error)) from None


def only_cell(arguments: Sequence[str], *, anywhere: bool = False) -> Cell:
    """The cell of one configuration, whatever its seed: of a study's arms the command line must leave one. Raises
    ConfigError.
    """
    cells = preflight(arguments, multirun=False, anywhere=anywhere)
    meant = {json.dumps(plain(marked(cell.composed)), sort_keys=True) for cell in cells}
    if len(meant) > 1:
        raise ConfigError(
            f"This selects {len(meant)} configurations ({' '.join(arguments)}). Select one, for example with arm=..."
        )
    return cells[0]


def without_launchers(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments less launchers that are not installed, and a line for each of these."""
    installed = GlobalHydra.instance().config_loader().get_group_options(LAUNCHER, results_filter=ObjectType.CONFIG)
    kept, lacking = [], []
    for text in arguments:
        choice = text.removeprefix(f"{LAUNCHER}=")
        missing = choice != text and choice in EXTRAS and choice not in installed
        if missing:
            lacking.append(f"{LAUNCHER}: {choice} is not installed. Run pip install 'pgolf[{EXTRAS[choice]}]'")
        elif not (text.startswith("hydra.launcher.") and lacking):
            kept.append(text)
    return kept, lacking


def check_keys(arguments: Sequence[str], overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Raise ConfigError for keys that the choices do not have; where choices are swept, each run is checked by itself
    later.
    """
    groups = [(text, o) for text, o in zip(arguments, overrides, strict=True) if is_group(o, loader)]
    if len(groups) == len(overrides) or any(o.is_sweep_override() for _, o in groups):
        return
    base = composed_as_far_as(groups, loader)[0]
    if not base.hydra.sweeper.get("params"):
        raise_if([p for o in overrides if not is_group(o, loader) for p in key_problems(o, base, loader)])


def composed_as_far_as(
    fixed: Sequence[tuple[str, Override]], loader: ConfigLoader
) -> tuple[DictConfig, tuple[str, ...]]:
    """The configuration that the unswept overrides give, and those of them that it had to be composed without: values
    at fault, or of a swept choice (`model/head=factorized,mos model.head.rank=8`), which has no place for them yet.
    Raises ConfigError."""
    try:
        return composed_with(tuple(text for text, _ in fixed)), ()
    except (HydraException, OmegaConfBaseException) as error:
        groups = [(text, o) for text, o in fixed if is_group(o, loader)]
        if len(groups) < len(fixed):  # the checks of each cell name a value at fault better
            return composed_as_far_as(groups, loader)[0], tuple(text for text, o in fixed if not is_group(o, loader))
        raise ConfigError(readable(error)) from None
    except (AssertionError, AttributeError, TypeError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"hydra: cannot be composed ({reason}). Give sweeps as key=a,b,c on the command line"
        ) from None


def composed_with(arguments: tuple[str, ...]) -> DictConfig:
    """The whole configuration, Hydra's own part included. The last ones are kept while conf/ stays as it is: not to be
    changed.
    """
    return _composed_with(arguments, conf_stamp())


@lru_cache(maxsize=8)
def _composed_with(arguments: tuple[str, ...], _stamp: tuple[object, ...]) -> DictConfig:
    return compose(CONFIG_NAME, list(arguments), return_hydra_config=True)


def check_cells(
    cells: list[list[str]], loader: ConfigLoader, lacking: list[str], *, in_sweep: bool, anywhere: bool
) -> list[Cell]:
    made: list[Cell] = []
    known = Composed()
    checked: dict[tuple[str, ...], Checked] = {}  # seeds of one arm have the same problems
    seen: dict[str, list[int]] = {}
    for number, cell in enumerate(cells):
        if number == MANY_RUNS and not seen:
            print(f"{len(cells):,} runs; each is checked before the first starts", file=sys.stderr, flush=True)
        own_seed = any(text.startswith("train.from=") for text in cell)  # each seed has a parent of its own
        but_seed = tuple(text for text in cell if own_seed or not text.startswith("seed="))
        is_first = but_seed not in checked
        if is_first:
            checked[but_seed] = check_cell(cell, loader, known, in_sweep=in_sweep)
        found = (
            checked[but_seed].problems if anywhere else [*checked[but_seed].problems, *checked[but_seed].unavailable]
        )
        if not checked[but_seed].problems:
            composed = checked[but_seed].cell if is_first else compose_cell(cell, loader, known, in_sweep=in_sweep)
            assert composed is not None, cell
            made.append(replace(composed, unavailable=(*lacking, *checked[but_seed].unavailable)))
        for problem in found:
            seen.setdefault(problem, []).append(number)
    lines = []
    for problem, numbers in seen.items():
        lines.append(problem)
        if len(cells) > 1 and len(numbers) < len(cells):
            where = " ".join(cells[numbers[0]])
            lines.append(f"  in {len(numbers)} of {len(cells)} runs, the first: {where}")
    raise_if(lines)
    return made


@dataclass(frozen=True)
class Checked:
    """What is wrong with one configuration wherever it runs, and what this machine lacks for it."""

    problems: Sequence[str]
    unavailable: Sequence[str] = ()
    cell: Cell | None = None  # composed, where nothing is wrong with it


def check_cell(cell: list[str], loader: ConfigLoader, known: "Composed", *, in_sweep: bool) -> Checked:
    try:
        composed = compose_cell(cell, loader, known, in_sweep=in_sweep)
        config = plain(composed.composed)
        plain(marked(composed.composed))  # the fingerprint is made of it: it must resolve, too
        problems = [*misplaced(composed), *problems_of(config)]
        return Checked(problems, [] if problems else lacks_of(config), composed)
    except ConfigError as error:
        return Checked(error.problems)
    except PgolfError as error:
        return Checked([str(error)])
    except Exception as error:  # of a component, which may be anybody's
        return Checked([f"{' '.join(cell)}: cannot be checked ({type(error).__name__}: {error})"])


def misplaced(cell: Cell) -> list[str]:
    """An arm outside its study, or on another corpus than the one that it is about."""
    arm, study, data, wanted = cell.choices[ARM], cell.choices[STUDY], cell.choices["data"], cell.composed.study.data
    if arm is not None and (own := str(arm).split("/")[0]) != study:
        return [f"arm: belongs to study={own}, not to study={study} ({arm}). Write study={own} arm={arm}"]
    name, file = cell.composed.study.arm, str(arm).split("/")[-1]
    if arm is not None and name != file:
        return [f"study.arm: must be the name of the arm's YAML file, {file} ({name}). Rename one of them"]
    if wanted and data != wanted:
        rest = (
            f"Leave data= out for this arm, and give the others a command of their own: study={study} data={data} "
            "arm=..."
        )
        return [f"data: the arm {arm} is about data={wanted} ({data}). {rest}"]
    return []


def raise_if(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def parse(arguments: Sequence[str], loader: ConfigLoader) -> list[Override]:
    """Every argument as an override. Raises ConfigError with all that are none."""
    overrides, problems = [], []
    for argument in arguments:
        try:
            overrides += OverridesParser.create(config_loader=loader).parse_overrides([argument])
        except (HydraException, ValueError, RecursionError, AssertionError):
            problems.append(not_an_override(argument))
    raise_if(
        [
            *problems,
            *(f"{o.input_line}: has no key. Write key=value or group=choice" for o in overrides if not o.key_or_group),
        ]
    )
    return overrides


@dataclass
class Composed:
    """What cells of one command line have in common. bases: configurations by choices alone, against which the keys of
    values are checked; wholes: configurations with their groups' choices, by all overrides but the seed."""

    bases: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)
    wholes: dict[tuple[str, ...], tuple[DictConfig, dict[str, Any]]] = field(default_factory=dict)


def compose_cell(cell: list[str], loader: ConfigLoader, known: Composed, *, in_sweep: bool) -> Cell:
    overrides = parse(cell, loader)
    chosen = tuple(text for text, o in zip(cell, overrides, strict=True) if is_group(o, loader))
    but_seed = tuple(text for text, o in zip(cell, overrides, strict=True) if o.key_or_group != "seed")
    try:
        base = known.bases.get(chosen) or known.bases.setdefault(chosen, composed_with(chosen))
        raise_if([p for o in overrides if not is_group(o, loader) for p in key_problems(o, base, loader)])
        if but_seed in known.wholes:
            whole, choices = known.wholes[but_seed]
            composed = whole.copy()
            for override in overrides:
                if override.key_or_group == "seed":
                    composed.seed = override.value()
        else:
            composed = composed_with(tuple(cell)).copy()
            choices = {str(group): choice for group, choice in composed.hydra.runtime.choices.items()}
            with open_dict(composed):
                del composed["hydra"]
            known.wholes[but_seed] = composed.copy(), choices
        return Cell(tuple(cell), inherit(composed, cell), choices, in_sweep)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(readable(error)) from None
