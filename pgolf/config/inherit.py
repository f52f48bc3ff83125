"""`train.from`: a job that takes the weights of another run has that run's configuration, but for how it is packed and
scored.
"""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from pgolf.config.compose import literal
from pgolf.config.saved import load_saved
from pgolf.config.schema import PathsConfig, plain_config
from pgolf.errors import ConfigError, PgolfError
from pgolf.records.record import read_record
from pgolf.training.checkpoint import WEIGHTS

OWN = ("quant", "eval")  # choices that a job makes for itself, or leaves to the parent
FREE = (*OWN, "launch", "paths", "seed", "device", "study", "arm", "hydra")  # what the parent does not decide
FREE_KEYS = ("train.from", "train.threads", "train.compile", "train.precision")
OWN_TRAIN = ("from", "threads", "compile", "precision")


def parent_run(arm: Path, seed: int, paths: PathsConfig) -> Path:
    """The finished run of a seed in an arm's folder; a run folder stands for itself. Raises ConfigError."""
    if (arm / "config.yaml").is_file():
        found = [arm] if load_saved(arm, paths).config.seed == seed and _finished(arm) else []
    else:
        found = [folder for folder in sorted(arm.glob(f"seed{seed}-*")) if _finished(folder)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(sorted(path.name for path in arm.glob("seed*"))) or "none"
    if found:
        raise ConfigError(
            f"train.from: has several runs of seed {seed} ({', '.join(p.name for p in found)}). Name one of these "
            "folders"
        )
    raise ConfigError(f"train.from: has no finished run of seed {seed} ({arm}). Runs there: {there}")


def _finished(folder: Path) -> bool:
    try:
        record = read_record(folder)
    except PgolfError:
        return False
    return record is not None and record["status"] == "ok"


def inherit(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration as it is, or, where train.from is set, with the parent's in its place. Raises ConfigError.

    quant and eval stay this job's where the command chooses them (`quant=...`), and are the parent's otherwise. A value
    inside one that is not chosen is refused, since it is not sure whose it would be; so is an override of what the
    parent decides: it could not take effect.
    """
    if cfg.train["from"] is None:
        return cfg
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    keys = [override.key_or_group for override in parsed]
    vain = [key for key in keys if key.replace("/", ".").split(".")[0] not in FREE and key not in FREE_KEYS]
    if vain:
        raise ConfigError(
            *(f"{key}: is decided by the run at train.from. Leave it out; quant and eval are free" for key in vain)
        )
    chosen = {key for key in keys if key in OWN}
    loose = [key for key in keys if key.split(".")[0] in OWN and key.split(".")[0] not in chosen]
    if loose:
        raise ConfigError(
            *(
                f"{key}: changes a choice that is not made. Choose too, as in {key.split('.')[0]}=NAME {key}=..."
                for key in loose
            )
        )
    paths = PathsConfig(str(cfg.paths.out), str(cfg.paths.cache))
    parent = parent_run(Path(cfg.train["from"]).expanduser().absolute(), cfg.seed, paths)
    theirs = OmegaConf.create(literal(plain_config(load_saved(parent, paths).config)))
    if theirs.train["from"] is not None:
        raise ConfigError(
            f"train.from: {parent} took its weights from another run. Name that one ({theirs.train['from']})"
        )
    if not (parent / WEIGHTS).is_file():
        raise ConfigError(
            f"train.from: {parent} kept no weights. Train it again with launch.keep_weights=true launch.rerun=true"
        )
    # Without the sections' types, whose slots cannot be replaced.
    made = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False))
    assert isinstance(made, DictConfig)
    for section in ("model", "optim", "data", "defects", *(s for s in OWN if s not in chosen)):
        made[section] = theirs[section]
    made.train = {**theirs.train, **{key: made.train[key] for key in OWN_TRAIN}, "from": literal(str(parent))}
    return made
