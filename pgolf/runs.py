"""Names of runs: the arm, the fingerprint, and the folder that a configuration owns."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from pgolf.auto import decide_auto
from pgolf.config import plain
from pgolf.provenance import fingerprint
from pgolf.saved import load_saved
from pgolf.study import study_folder

SEED_MARK = -1  # no seed that a user can choose
NOT_AN_ARM = ("seed", "launch", "paths", "study", "hydra")
LONGEST_NAME = 120  # bytes, where a file system takes 255


def arm_name(overrides: Sequence[str]) -> str:
    """The sorted overrides that make an arm, `head=mos,q_proj=low_rank`; `default` for none. Groups are named by their last part."""
    parts = []
    for text, override in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        key = override.key_or_group
        if re.split(r"[./]", key)[0] in NOT_AN_ARM:
            continue
        value = text.split("=", 1)[1].strip("'\"/").split("/")[-1] if "=" in text else ""  # of a path, the last part
        at = f"@{override.package}" if override.package else ""
        parts.append(f"{key.split('/')[-1]}{at}={value}")
    parts.sort(key=lambda part: (part.startswith("data"), part))  # where a long name is cut, the corpus goes first
    name = re.sub(r"[^\w=,.@+-]+", "_", ",".join(parts)) or "default"
    if len(name.encode()) > LONGEST_NAME:
        start = name.encode()[:LONGEST_NAME].decode(errors="ignore")  # no character is cut in two
        name = f"{start}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def marked(cfg: DictConfig) -> DictConfig:
    """A configuration with the mark in the place of its seed, the same for every seed of an arm."""
    made = cfg.copy()
    made.seed = SEED_MARK
    return made


def config_fingerprint(cfg: DictConfig, *, in_sweep: bool) -> str:
    """The fingerprint of a composed configuration: what follows from the seed by interpolation follows the mark.

    A run that takes another's weights has that run's fingerprint in the place of all that the other decides.
    """
    config = decide_auto(plain(marked(cfg)), in_sweep=in_sweep)
    if (parent := config["train"]["from"]) is not None:
        theirs = load_saved(Path(parent), config["paths"])["run"]["fingerprint"]
        train = {key: config["train"][key] for key in ("threads", "compile", "precision")} | {"from": theirs}
        config = {key: config[key] for key in ("seed", "device", "quant", "eval")} | {"train": train}
    return fingerprint(config)


def identify(cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], *, in_sweep: bool) -> dict[str, Any]:
    """What a record says of a run before it runs."""
    return {
        "study": study_folder(cfg.study.name, str(choices["scale"])) if cfg.study.families else cfg.study.name,
        "arm": cfg.study.arm or arm_name(overrides),
        "fingerprint": config_fingerprint(cfg, in_sweep=in_sweep),
        "overrides": sorted(overrides),
        **{f"choices.{group}": choice for group, choice in sorted(choices.items()) if not group.startswith("hydra/")},
    }


def run_folder(config: Mapping[str, Any], identity: Mapping[str, Any]) -> Path:
    name = f"seed{config['seed']}-{identity['fingerprint'][:8]}"
    return Path(config["paths"]["out"]).expanduser() / identity["study"] / identity["arm"] / name
