"""`train.from`: a run that takes the weights of another run, its parent, also takes the parent's configuration.

Only the sections `quant` and `eval`, which pack and score the model, may differ.
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

OWN = ("quant", "eval")  # groups that a run may choose itself; otherwise the parent's choice applies
FREE = (*OWN, "launch", "paths", "tracker", "seed", "device", "study", "arm", "hydra")  # not decided by the parent
OWN_TRAIN = ("from", "threads", "compile", "precision")
FREE_KEYS = tuple(f"train.{key}" for key in OWN_TRAIN)


def parent_run(arm: Path, seed: int, paths: PathsConfig) -> Path:
    """The folder of the finished run of a seed. arm: the folder of an arm, or the run folder itself.

    Raises ConfigError if there is not exactly one finished run, DamagedFile for an invalid configuration.
    """
    if (arm / "config.yaml").is_file():
        candidates = [arm] if load_saved(arm, paths).config.seed == seed and is_finished(arm) else []
    else:
        candidates = [folder for folder in sorted(arm.glob(f"seed{seed}-*")) if is_finished(folder)]
    if len(candidates) == 1:
        return candidates[0]
    names = ", ".join(sorted(path.name for path in arm.glob("seed*"))) or "none"
    if candidates:
        raise ConfigError(
            f"train.from: has several runs of seed {seed} ({', '.join(p.name for p in candidates)}). Name one of these "
            "folders"
        )
    raise ConfigError(f"train.from: has no finished run of seed {seed} ({arm}). Runs in this folder: {names}")


def is_finished(folder: Path) -> bool:
    """Whether a folder has a valid record of a successful run."""
    try:
        record = read_record(folder)
    except PgolfError:
        return False
    return record is not None and record["status"] == "ok"


def inherit(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A configuration with the sections of its parent if train.from is set, otherwise the same configuration.

    The run keeps its own quant or eval if the command line chooses it (`quant=...`). Refused are an override of
    anything that the parent decides, since it would have no effect, and an override inside a quant or eval that is not
    chosen, since its base would be ambiguous.

    Raises ConfigError, and DamagedFile for an invalid parent.
    """
    if cfg.train["from"] is None:
        return cfg
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    keys = [override.key_or_group for override in parsed]
    fixed = [key for key in keys if key.replace("/", ".").split(".")[0] not in FREE and key not in FREE_KEYS]
    if fixed:
        raise ConfigError(
            *(f"{key}: is decided by the run at train.from. Leave it out; choose only quant and eval" for key in fixed)
        )
    own_groups = {key for key in keys if key in OWN}
    ambiguous = [key for key in keys if key.split(".")[0] in OWN and key.split(".")[0] not in own_groups]
    if ambiguous:
        raise ConfigError(
            *(
                f"{key}: needs a choice of its group too. Choose one, as in {key.split('.')[0]}=NAME {key}=..."
                for key in ambiguous
            )
        )
    paths = PathsConfig(str(cfg.paths.out), str(cfg.paths.cache))
    parent = parent_run(Path(cfg.train["from"]).expanduser().absolute(), cfg.seed, paths)
    parent_cfg = OmegaConf.create(literal(plain_config(load_saved(parent, paths).config)))
    if parent_cfg.train["from"] is not None:
        raise ConfigError(
            f"train.from: {parent} took its weights from another run. Name that run ({parent_cfg.train['from']})"
        )
    if not (parent / WEIGHTS).is_file():
        raise ConfigError(
            f"train.from: {parent} kept no weights. Train it again with launch.keep_weights=true launch.rerun=true"
        )
    # A copy without the types of the schema, whose slots cannot be replaced.
    child = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False))
    assert isinstance(child, DictConfig)
    for section in ("model", "optim", "data", "defects", *(s for s in OWN if s not in own_groups)):
        child[section] = parent_cfg[section]
    child.train = {**parent_cfg.train, **{key: child.train[key] for key in OWN_TRAIN}, "from": literal(str(parent))}
    return child
