"""The resolvers that a YAML file may use, such as `${scale_steps:...}`, and their registration."""

from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from pgolf.config import schema
from pgolf.config.folders import cache_dir
from pgolf.errors import require
from pgolf.inspect.ranks import ranks_for
from pgolf.nn.rank_choice import depth_profile


def planned_steps(train: Any) -> int | None:
    """The number of steps of a budget in steps or tokens; None for a budget in seconds."""
    if train.steps is not None:
        return int(train.steps)
    return None if train.tokens is None else max(1, int(train.tokens) // int(train.batch_tokens))


def scale_steps(published: int, published_steps: int, *, _root_: Any) -> int:
    """A published number of steps, scaled to the length of this run; at least 1.

    It stays unchanged for a budget in seconds, whose number of steps is unknown.
    """
    steps = planned_steps(_root_.train)
    return published if steps is None else max(1, round(published * steps / published_steps))


def scale_width(published: int, published_width: int, *, _root_: Any) -> int:
    """A published size, scaled to the width of this model; at least 1."""
    return max(1, round(published * int(_root_.model.width) / published_width))


def scale_threshold(published: int, published_width: int, *, _root_: Any) -> int:
    """A published limit of a packer in elements, scaled with the square of this model's width; at least 1.

    So a narrower model has the same matrices coded. With the defect `unscaled_threshold`, the published number.
    """
    if _root_.defects.unscaled_threshold:
        return published
    return max(1, round(published * (int(_root_.model.width) / published_width) ** 2))


def scale_head_dim(published: int, published_head_dim: int, *, _root_: Any) -> int:
    """A published number of dimensions of a head, scaled to the head size of this model; even and at least 2."""
    return max(2, 2 * round(published * head_dim(_root_=_root_) / published_head_dim / 2))


def scale_decay(published: float, published_steps: int, *, _root_: Any) -> float:
    """A published decay per step, scaled so that the decay over the whole run stays the same."""
    steps = planned_steps(_root_.train)
    return published if steps is None else float(published ** (published_steps / steps))


def last_layers(published: int, *, _root_: Any) -> int:
    """A published number of last layers, limited to the layers of the model."""
    return min(published, int(_root_.model.layers))


def rank_profile(first: int | None = None, last: int | None = None, *, _root_: Any) -> list[int]:
    """Ranks on a straight line over the unique blocks, from that of the first to that of the last."""
    for key, rank in (("first", first), ("last", last)):
        require(type(rank) is int, key, rank, "give two whole numbers, as in ${rank_profile:16,80}")
    assert first is not None
    assert last is not None
    return depth_profile(first, last, int(_root_.model.unique_blocks))


def energy_ranks(spectra: str, energy: float | None = None, by: str = "activation", *, _root_: Any) -> list[int]:
    """Ranks that keep a share of each block's energy: `${energy_ranks:"RUN",0.95}`.

    RUN is a folder after `python -m pgolf.inspect ranks RUN --save`, or the file query_spectra.json. A third argument
    chooses `activation` (the default) or `weight`.
    """
    require(type(energy) in (int, float), "energy", energy, "give a number above 0 and at most 1")
    return ranks_for(str(spectra), by, int(_root_.model.unique_blocks), int(_root_.model.width), energy=energy)


def budget_ranks(spectra: str, parameters: int | None = None, by: str = "activation", *, _root_: Any) -> list[int]:
    """Ranks that keep most energy within a number of parameters of all factors: `${budget_ranks:"RUN",49152}`.

    RUN and the third argument are those of `energy_ranks`.
    """
    require(type(parameters) is int, "parameters", parameters, "give a whole number")
    return ranks_for(str(spectra), by, int(_root_.model.unique_blocks), int(_root_.model.width), parameters=parameters)


def trained_head(*, _root_: Any) -> bool:
    """Whether the head is trainable. A frozen head must not start at zero, because it would stay there."""
    frozen = [*_root_.optim.frozen, *_root_.defects.frozen]
    return not any(name in ("model", "model.head") for name in frozen)


def edge_blocks(*, _root_: Any) -> list[str]:
    """Prefixes of the parameter names of the first and the last unique block."""
    last = int(_root_.model.unique_blocks) - 1
    return [f"model.{part}.{i}" for i in sorted({0, last}) for part in schema.BLOCK_PARTS]


def roles_of_blocks(part: str, name: str, role: str, *, _root_: Any) -> list[str]:
    """Values of `optim.role_of` that give a parameter of a block part one role in every unique block."""
    return [f"model.{part}.{i}.{name}:{role}" for i in range(int(_root_.model.unique_blocks))]


def choose(key: Any, values: Any) -> Any:
    """values[key]: the number that a study gives for one of its sizes. Raises ValueError for any other size."""
    if key not in values:
        raise ValueError(f"there is no value for {key}, only for {', '.join(map(str, values))}. Set this option")
    return values[key]


def study_arms(*, _root_: Any) -> str:
    """All arms of all families of the study, as a value of `arm=`: `<choice of study>/<arm>,...`."""
    arms = [arm for family in _root_.study.families.values() for arm in family.arms]
    return ",".join(f"{_root_.hydra.runtime.choices.study}/{arm}" for arm in dict.fromkeys(arms))


def head_dim(*, _root_: Any) -> int:
    """The size of one attention head: width / heads."""
    return int(_root_.model.width) // max(1, int(_root_.model.heads))


def register() -> None:
    """Register the schema with Hydra and the resolvers with OmegaConf. Safe to repeat."""
    store = ConfigStore.instance()
    if "base_config.yaml" not in store.repo:
        store.store(name="base_config", node=schema.Config)
    scales = (scale_steps, scale_width, scale_threshold, scale_head_dim, scale_decay)
    lists = (edge_blocks, rank_profile, energy_ranks, budget_ranks, roles_of_blocks, study_arms)
    for resolver in (*scales, last_layers, *lists, trained_head, head_dim, choose, cache_dir):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
