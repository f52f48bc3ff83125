"""Where the configuration lies, what its interpolations mean, how it is composed and saved."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pgolf import schema
from pgolf.errors import ConfigError
from pgolf.machine.files import write_whole
from pgolf.machine.plain import yaml_text

CONFIG_NAME = "config"
CONFIG_DIR = "PGOLF_CONFIG_DIR"


def conf_dir() -> Path:
    """The folder of config groups: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    for candidate in (package.parent / "conf", package / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise ConfigError(f"conf: not found beside or inside the package ({package}). Install pgolf again")


def config_folders() -> list[Path]:
    """Folders of config groups whose YAMLs the user trusts: pgolf's own, and the one that $PGOLF_CONFIG_DIR names.

    `pgolf.train --config-dir FOLDER` sets that variable, so that the processes of a sweep know the folder too. No file can set it.
    """
    own = os.environ.get(CONFIG_DIR)
    return [conf_dir(), *([Path(own).expanduser().absolute()] if own else [])]


def conf_stamp() -> tuple[object, ...]:
    """What changes when a file of the configuration does: names, sizes and times of all of them."""
    files = ((str(path), path.stat()) for path in sorted(path for folder in config_folders() for path in folder.rglob("*.yaml")))
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in files)


def cache_dir() -> str:
    """The user's cache folder: $PGOLF_CACHE, or pgolf under $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return os.environ.get("PGOLF_CACHE") or str(Path(base) / "pgolf")


def planned_steps(train: Any, *, root: Any = None) -> int | None:
    """Steps of a budget in steps or tokens; None for one in seconds."""
    if train.steps is not None:
        return int(train.steps)
    return None if train.tokens is None else max(1, int(train.tokens) // int(train.batch_tokens))


def scale_steps(published: int, published_steps: int, *, _root_: Any) -> int:
    """A published step count at this run's length, at least 1; unchanged under a budget in seconds, whose length in steps is not known."""
    steps = planned_steps(_root_.train)
    return published if steps is None else max(1, round(published * steps / published_steps))


def scale_width(published: int, published_width: int, *, _root_: Any) -> int:
    """A published size at this model's width, at least 1."""
    return max(1, round(published * int(_root_.model.width) / published_width))


def scale_area(published: int, published_width: int, *, _root_: Any) -> int:
    """A published number of matrix elements at this model's width: it grows with the square."""
    return max(1, round(published * (int(_root_.model.width) / published_width) ** 2))


def scale_head_dim(published: int, published_head_dim: int, *, _root_: Any) -> int:
    """A published number of dims of a head at this model's head size, even and at least 2."""
    return max(2, 2 * round(published * head_dim(_root_=_root_) / published_head_dim / 2))


def scale_decay(published: float, published_steps: int, *, _root_: Any) -> float:
    """A published decay per step at this run's length: over the whole run it forgets as much."""
    steps = planned_steps(_root_.train)
    return published if steps is None else float(published ** (published_steps / steps))


def last_layers(published: int, *, _root_: Any) -> int:
    """A published number of last layers, at most as many as the model has."""
    return min(published, int(_root_.model.layers))


def trained_head(*, _root_: Any) -> bool:
    """Whether the head is trained: one that is frozen, on purpose or as a defect, must not stay at zero."""
    frozen = [*_root_.optim.frozen, *_root_.defects.frozen]
    return not any(name in ("model", "model.head") for name in frozen)


def edge_blocks(*, _root_: Any) -> list[str]:
    """Names of the first and the last core's matrices."""
    last = int(_root_.model.unique_blocks) - 1
    return [f"model.{part}.{i}" for i in sorted({0, last}) for part in ("q_proj", "attention", "mlp")]


def choose(key: Any, values: Any) -> Any:
    """values[key]: a number that a study gives for each size it knows."""
    if key not in values:
        raise ValueError(f"no value is given for {key}, only for {', '.join(map(str, values))}. Set this option")
    return values[key]


def study_arms(*, _root_: Any) -> str:
    """Every arm of every family of the study, as `arm=` takes them: `<study>/<arm>,...`."""
    study = _root_.study
    arms = [arm for family in study.families.values() for arm in family.arms]
    return ",".join(f"{study.name}/{arm}" for arm in dict.fromkeys(arms))


def head_dim(*, _root_: Any) -> int:
    """Model width over query heads, the size of one head."""
    return int(_root_.model.width) // max(1, int(_root_.model.heads))


def register() -> None:
    """Make the schema and the interpolations known to Hydra and OmegaConf. Safe to call again."""
    store = ConfigStore.instance()
    store.store(name="base_config", node=schema.Config)
    scales = (scale_steps, scale_width, scale_area, scale_head_dim, scale_decay)
    for resolver in (*scales, last_layers, edge_blocks, trained_head, head_dim, choose, study_arms, cache_dir):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


@contextmanager
def composer() -> Iterator[None]:
    """Inside, `compose` works on pgolf's config folder; Hydra's global state is left as it was found."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="pgolf"):
        if own := config_folders()[1:]:
            loader: Any = GlobalHydra.instance().config_loader()
            path = loader.get_search_path()
            for folder in own:
                path.prepend("pgolf", f"file://{folder}", anchor="schema")
            loader.repository.initialize_sources(path)  # it reads the path once, when it is made
        yield


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """One configuration from command-line overrides. Raises Hydra's and OmegaConf's own exceptions."""
    with composer():
        return compose(CONFIG_NAME, list(overrides))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as resolved, plain containers. Raises ConfigError where an interpolation fails."""
    try:
        made = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: cannot be resolved. {str(error).splitlines()[0]}") from None
    assert isinstance(made, dict)
    return {str(key): value for key, value in made.items()}


def save(resolved: dict[str, Any], path: Path) -> None:
    """Write a resolved configuration, keys sorted, whole or not at all. Raises OSError."""
    write_whole(path, yaml_text(resolved).encode())


def literal(value: Any) -> Any:
    """Plain data in the form in which OmegaConf reads its texts as they stand: what looks like an interpolation is escaped."""
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
