"""The interpolations that a YAML may use, such as `${scale_steps:...}`, and their registration."""

from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from pgolf.config import schema
from pgolf.config.folders import cache_dir
from pgolf.config.sources import parse_files_once


def planned_steps(train: Any, *, root: Any = None) -> int | None:
    """Steps of a budget in steps or tokens; None for one in seconds."""
    if train.steps is not None:
        return int(train.steps)
    return None if train.tokens is None else max(1, int(train.tokens) // int(train.batch_tokens))


def scale_steps(published: int, published_steps: int, *, _root_: Any) -> int:
    """A published step count at this run's length, at least 1; unchanged under a budget in seconds, whose length in
    steps is not known.
    """
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
    """Make the schema, the interpolations and the source of files known to Hydra and OmegaConf. Safe to call again."""
    parse_files_once()
    store = ConfigStore.instance()
    store.store(name="base_config", node=schema.Config)
    scales = (scale_steps, scale_width, scale_area, scale_head_dim, scale_decay)
    for resolver in (*scales, last_layers, edge_blocks, trained_head, head_dim, choose, study_arms, cache_dir):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
