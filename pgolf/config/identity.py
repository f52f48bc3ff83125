"""Names of runs: the arm, the fingerprint, and the folder that a configuration owns."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from pgolf.config.auto import decide_auto
from pgolf.config.compose import plain
from pgolf.config.saved import load_saved
from pgolf.config.schema import Config, plain_config, typed_config
from pgolf.records.arm_names import name_of_overrides
from pgolf.study.description import study_folder

SEED_MARK = -1  # no seed that a user can choose


def arm_name(overrides: Sequence[str]) -> str:
    """The name of the arm that overrides make; see `name_of_overrides`."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return name_of_overrides(
        (override.key_or_group, override.package or "", text.split("=", 1)[1] if "=" in text else "")
        for text, override in zip(overrides, parsed, strict=True)
    )


def marked(cfg: DictConfig) -> DictConfig:
    """A configuration with the mark in the place of its seed, the same for every seed of an arm."""
    made = cfg.copy()
    made.seed = SEED_MARK
    return made


def config_fingerprint(cfg: DictConfig, *, in_sweep: bool) -> str:
    """The fingerprint of a composed configuration: what follows from the seed by interpolation follows the mark.

    A run that takes another's weights has that run's fingerprint in the place of all that the other decides.
    """
    config = decide_auto(typed_config(plain(marked(cfg))), in_sweep=in_sweep)
    if (parent := config.train.parent) is None:
        return fingerprint(plain_config(config))
    train = {
        "threads": config.train.cpu_threads,
        "compile": config.train.compile,
        "precision": config.train.precision,
        "from": load_saved(Path(parent), config.paths).identity["fingerprint"],
    }
    own = {"seed": config.seed, "device": config.device, "quant": config.quant, "eval": config.eval, "train": train}
    return fingerprint(own)


def identify(
    cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], *, in_sweep: bool
) -> dict[str, Any]:
    """What a record says of a run before it runs."""
    return {
        "study": study_folder(cfg.study.name, str(choices["scale"])) if cfg.study.families else cfg.study.name,
        "arm": cfg.study.arm or arm_name(overrides),
        "fingerprint": config_fingerprint(cfg, in_sweep=in_sweep),
        "overrides": sorted(overrides),
        **{f"choices.{group}": choice for group, choice in sorted(choices.items()) if not group.startswith("hydra/")},
    }


def run_folder(config: Config, identity: Mapping[str, Any]) -> Path:
    name = f"seed{config.seed}-{identity['fingerprint'][:8]}"
    return Path(config.paths.out).expanduser() / identity["study"] / identity["arm"] / name


SHORT = 12  # hex digits of a file's sum in a record


def fingerprint(config: Mapping[str, Any]) -> str:
    """16 hex digits of what decides a result: a configuration resolved under a fixed mark for the seed, without launch
    and locations.
    """
    return hashlib.sha256(json.dumps(decisive(config), sort_keys=True).encode()).hexdigest()[:16]


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides a result: without what is launched and where it is kept."""
    return {key: value for key, value in config.items() if key not in ("launch", "paths", "study", "run")}
