"""Composes the runs of a command line, each distinct configuration once."""

import os
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.compose import CONFIG_NAME, plain
from pgolf.config.folders import conf_stamp, config_folders
from pgolf.config.hydra_messages import describe_hydra_error, grammar_problem, split_problem
from pgolf.config.inherit import inherit
from pgolf.config.overrides import is_group, key_problems
from pgolf.config.schema import Config, typed_config
from pgolf.errors import ConfigError


@dataclass(frozen=True)
class ComposedRun:
    """One run of a command line.

    overrides: as typed, without those of Hydra itself. cfg: the configuration, `auto` not yet decided. resolved: the
    same in plain containers. choices: {config group: choice}. unavailable: problems of this configuration on this
    machine alone.
    """

    overrides: tuple[str, ...]
    cfg: DictConfig
    resolved: dict[str, Any]
    choices: dict[str, Any]
    unavailable: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        """The checked configuration as dataclasses, `auto` not yet decided."""
        return typed_config(self.resolved)


def composed_run(overrides: Sequence[str], cfg: DictConfig, choices: dict[str, Any]) -> ComposedRun:
    """The run of a composed configuration, with the sections of `train.from`, if it is set. Raises ConfigError."""
    inherited = inherit(cfg, overrides)
    return ComposedRun(tuple(overrides), inherited, plain(inherited), choices)


@dataclass
class CompositionCache:
    """Compositions that the runs of one command line share.

    bases: configurations by their choices alone, which have every valid key. complete: configurations, each with the
    choices of its groups, by all overrides except the seed.
    """

    bases: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)
    complete: dict[tuple[str, ...], tuple[DictConfig, dict[str, Any]]] = field(default_factory=dict)


def raise_if(problems: Sequence[str]) -> None:
    """Raise ConfigError with all distinct problems, if there are any."""
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def parse(arguments: Sequence[str], loader: ConfigLoader) -> list[Override]:
    """The overrides of the arguments. Raises ConfigError with all arguments that are not overrides."""
    overrides, problems = [], []
    if (split := split_problem(arguments)) is not None:
        raise ConfigError(split)
    for argument in arguments:
        try:
            overrides += OverridesParser.create(config_loader=loader).parse_overrides([argument])
        except (HydraException, ValueError, RecursionError, AssertionError):
            problems.append(grammar_problem(argument))
    keyless = [o for o in overrides if not o.key_or_group]
    raise_if([*problems, *(f"{o.input_line}: has no key. Write key=value or group=choice" for o in keyless)])
    return overrides


def compose_whole(pairs: Sequence[tuple[str, Override]], loader: ConfigLoader) -> DictConfig:
    """The configuration with the section `hydra`; the caller may change it. pairs: (text, override) per argument.

    Choices are composed once and cached until a YAML file changes. Values are set on a copy, by the function of Hydra
    that sets them after composing: a composition takes ten times as long.
    """
    is_choice = [is_group(override, loader) or is_hydras(override) for _, override in pairs]
    choices = tuple(text for (text, _), chosen in zip(pairs, is_choice, strict=True) if chosen)
    values = [override for (_, override), chosen in zip(pairs, is_choice, strict=True) if not chosen]
    cfg = with_values(_composed_choices(choices, (*config_folders(), *conf_stamp())), values)
    cfg.hydra.runtime.cwd = os.getcwd()  # the cache may be from another folder
    return cfg


def with_values(pickled: bytes, values: Sequence[Override]) -> DictConfig:
    """A copy of a pickled configuration in which values are set. Raises the exceptions of Hydra and OmegaConf."""
    cfg: DictConfig = pickle.loads(pickled)
    ConfigLoaderImpl._apply_overrides_to_config(list(values), cfg)
    return cfg


@lru_cache(maxsize=64)
def _composed_choices(choices: tuple[str, ...], _stamp: tuple[object, ...]) -> bytes:
    """A composed configuration, pickled: a copy of it is needed each time."""
    return pickle.dumps(compose(CONFIG_NAME, list(choices), return_hydra_config=True))


def is_hydras(override: Override) -> bool:
    """Whether an override sets an option of Hydra itself."""
    return re.split(r"[./]", override.key_or_group)[0] == "hydra"


def compose_run(arguments: Sequence[str], loader: ConfigLoader, cache: CompositionCache) -> ComposedRun:
    """Compose the configuration of one run. Raises ConfigError."""
    overrides = parse(arguments, loader)
    pairs = list(zip(arguments, overrides, strict=True))
    chosen = [(text, o) for text, o in pairs if is_group(o, loader)]
    choices_only = tuple(text for text, _ in chosen)
    but_seed = tuple(text for text, o in pairs if o.key_or_group != "seed")
    try:
        base = cache.bases.get(choices_only) or cache.bases.setdefault(choices_only, compose_whole(chosen, loader))
        raise_if([p for o in overrides if not is_group(o, loader) for p in key_problems(o, base, loader)])
        if but_seed in cache.complete:
            complete, choices = cache.complete[but_seed]
            cfg = complete.copy()
            for override in overrides:
                if override.key_or_group == "seed":
                    cfg.seed = override.value()
        else:
            cfg = compose_whole(pairs, loader)
            choices = {str(group): choice for group, choice in cfg.hydra.runtime.choices.items()}
            with open_dict(cfg):
                del cfg["hydra"]
            cache.complete[but_seed] = cfg.copy(), choices
        own = tuple(text for text, o in pairs if not is_hydras(o))
        return composed_run(own, cfg, choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(describe_hydra_error(error)) from None
