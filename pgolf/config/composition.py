"""One run of a command line, composed: from override texts to a configuration, each distinct one composed once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.compose import CONFIG_NAME, plain
from pgolf.config.folders import conf_stamp
from pgolf.config.inherit import inherit
from pgolf.config.overrides import is_group, key_problems, not_an_override, readable
from pgolf.config.schema import Config, typed_config
from pgolf.errors import ConfigError


@dataclass(frozen=True)
class ComposedRun:
    """One run of a command line.

    overrides: as typed, without those of Hydra itself. composed: the configuration, `auto` not yet decided.
    choices: {config group: choice}.
    unavailable: problems that only this machine has with it.
    """

    overrides: tuple[str, ...]
    composed: DictConfig
    choices: dict[str, Any]
    unavailable: tuple[str, ...] = ()

    @cached_property
    def config(self) -> Config:
        """The checked configuration as dataclasses, `auto` not yet decided."""
        return typed_config(plain(self.composed))


@dataclass
class CompositionCache:
    """What the runs of one command line share.

    bases: configurations by choices alone, against which the keys of values are checked. wholes: configurations with
    the choices of their groups, by all overrides except the seed.
    """

    bases: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)
    wholes: dict[tuple[str, ...], tuple[DictConfig, dict[str, Any]]] = field(default_factory=dict)


def raise_if(problems: Sequence[str]) -> None:
    """Raise ConfigError with the problems, each once, if there are any."""
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def parse(arguments: Sequence[str], loader: ConfigLoader) -> list[Override]:
    """Every argument as an override. Raises ConfigError with all arguments that are not overrides."""
    overrides, problems = [], []
    for argument in arguments:
        try:
            overrides += OverridesParser.create(config_loader=loader).parse_overrides([argument])
        except (HydraException, ValueError, RecursionError, AssertionError):
            problems.append(not_an_override(argument))
    keyless = [o for o in overrides if not o.key_or_group]
    raise_if([*problems, *(f"{o.input_line}: has no key. Write key=value or group=choice" for o in keyless)])
    return overrides


def composed_with(arguments: tuple[str, ...]) -> DictConfig:
    """The whole configuration, Hydra's own section included. Do not change it: the last ones are kept while the YAML
    files stay as they are.
    """
    return _composed_with(arguments, conf_stamp())


@lru_cache(maxsize=8)
def _composed_with(arguments: tuple[str, ...], _stamp: tuple[object, ...]) -> DictConfig:
    return compose(CONFIG_NAME, list(arguments), return_hydra_config=True)


def compose_run(arguments: Sequence[str], loader: ConfigLoader, cache: CompositionCache) -> ComposedRun:
    """Compose the configuration of one run. Raises ConfigError."""
    overrides = parse(arguments, loader)
    pairs = list(zip(arguments, overrides, strict=True))
    chosen = tuple(text for text, o in pairs if is_group(o, loader))
    but_seed = tuple(text for text, o in pairs if o.key_or_group != "seed")
    try:
        base = cache.bases.get(chosen) or cache.bases.setdefault(chosen, composed_with(chosen))
        raise_if([p for o in overrides if not is_group(o, loader) for p in key_problems(o, base, loader)])
        if but_seed in cache.wholes:
            whole, choices = cache.wholes[but_seed]
            composed = whole.copy()
            for override in overrides:
                if override.key_or_group == "seed":
                    composed.seed = override.value()
        else:
            composed = composed_with(tuple(arguments)).copy()
            choices = {str(group): choice for group, choice in composed.hydra.runtime.choices.items()}
            with open_dict(composed):
                del composed["hydra"]
            cache.wholes[but_seed] = composed.copy(), choices
        own = tuple(text for text, o in pairs if re.split(r"[./]", o.key_or_group)[0] != "hydra")
        return ComposedRun(own, inherit(composed, own), choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(readable(error)) from None
