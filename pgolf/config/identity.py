"""Names of runs: the arm, the fingerprint, and the folder that a configuration owns."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from pgolf.config.added import reduced
from pgolf.config.auto import decide_auto
from pgolf.config.compose import plain
from pgolf.config.saved import load_saved
from pgolf.config.schema import Config, plain_config, typed_config
from pgolf.records.arm_names import folder_of_arm, name_of_overrides
from pgolf.records.fields import NOT_DECISIVE
from pgolf.study.description import study_folder

SEED_MARK = -1  # not a valid seed


def arm_name(overrides: Sequence[str]) -> str:
    """The name of the arm with these overrides; see `name_of_overrides`."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return name_of_overrides(
        (override.key_or_group, override.package or "", text.split("=", 1)[1] if "=" in text else "")
        for text, override in zip(overrides, parsed, strict=True)
    )


def with_seed_mark(cfg: DictConfig) -> DictConfig:
    """A copy of a configuration with SEED_MARK as its seed. It is the same for every seed of an arm."""
    copy = cfg.copy()
    copy.seed = SEED_MARK
    return copy


def config_fingerprint(cfg: DictConfig, *, in_sweep: bool) -> str:
    """The fingerprint of a composed configuration. Values interpolated from the seed are replaced as the seed is.

    A run with `train.from` includes the fingerprint of its parent, instead of the sections that the parent decides.
    Raises ConfigError, DamagedFile.
    """
    config = decide_auto(typed_config(plain(with_seed_mark(cfg))), in_sweep=in_sweep)
    if (parent := config.train.parent) is None:
        return fingerprint(plain_config(config))
    return child_fingerprint(config, load_saved(Path(parent), config.paths).identity["fingerprint"])


def child_fingerprint(config: Config, parent: str) -> str:
    """The fingerprint of a run with `train.from`. config: with SEED_MARK. parent: the fingerprint of its parent."""
    train = {
        "threads": config.train.cpu_threads,
        "compile": config.train.compile,
        "precision": config.train.precision,
        "from": parent,
    }
    own = {"seed": config.seed, "device": config.device, "quant": config.quant, "eval": config.eval, "train": train}
    return fingerprint(own)


def identify(
    cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], *, in_sweep: bool
) -> dict[str, Any]:
    """The fields that identify a run in its record: study, arm, fingerprint, overrides and choices."""
    return {
        "study": study_folder(cfg.study.name, str(choices["scale"])) if cfg.study.families else cfg.study.name,
        "arm": cfg.study.arm or arm_name(overrides),
        "fingerprint": config_fingerprint(cfg, in_sweep=in_sweep),
        "overrides": sorted(overrides),
        **{f"choices.{group}": choice for group, choice in sorted(choices.items()) if not group.startswith("hydra/")},
    }


def run_folder(config: Config, identity: Mapping[str, Any]) -> Path:
    """The folder of a run: `paths.out/STUDY/ARM/seedSEED-FINGERPRINT`, a long name of ARM shortened.

    If the arm has a folder of its whole name, it is used: earlier versions made it.
    """
    name = f"seed{config.seed}-{identity['fingerprint'][:8]}"
    study = Path(config.paths.out).expanduser() / identity["study"]
    whole = study / identity["arm"]
    return (whole if whole.is_dir() else study / folder_of_arm(identity["arm"])) / name


def compiled_shape(config: Config) -> str:
    """Runs with the same text compile the same model for the same batches. config: every `auto` decided."""
    train = config.train
    batch = config.device, train.batch_tokens // train.micro_batches, train.seq_len, train.precision, train.threads
    frozen = config.optim.frozen, asdict(config.defects)
    return json.dumps([asdict(config.model), batch, frozen], sort_keys=True)


SHORT = 12  # hex digits of the hash of a source file in a record


def fingerprint(config: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of the decisive part of a configuration, resolved with SEED_MARK as its seed."""
    return hashlib.sha256(json.dumps(decisive(config), sort_keys=True).encode()).hexdigest()[:16]


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration that affect a result: all except launch, paths, study, tracker and run.

    Options that came later are left out where they change nothing (`pgolf.config.added`).
    """
    return reduced({key: value for key, value in config.items() if key not in NOT_DECISIVE})
