"""Composes a configuration with Hydra and converts it to plain data."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.folders import conf_dir, config_folders
from pgolf.config.quick_hydra import quick_hydra
from pgolf.config.resolvers import register
from pgolf.errors import ConfigError, PgolfError
from pgolf.machine.files import write_whole
from pgolf.machine.plain import yaml_text

CONFIG_NAME = "config"


@contextmanager
def composer() -> Iterator[None]:
    """A context in which Hydra's `compose` reads pgolf's config folders. Hydra's global state is cleared before."""
    register()
    GlobalHydra.instance().clear()
    with quick_hydra(), initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="pgolf"):
        if own := config_folders()[1:]:
            loader: Any = GlobalHydra.instance().config_loader()
            path = loader.get_search_path()
            for folder in own:
                path.prepend("pgolf", f"file://{folder}", anchor="schema")
            loader.repository.initialize_sources(path)  # the repository reads the search path only at its creation
        yield


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain containers, with every interpolation resolved. Raises ConfigError if one fails."""
    try:
        container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        reason = refusal(error) or str(error)
        raise ConfigError(f"{error.full_key}: cannot be resolved. {reason.splitlines()[0]}") from None
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def refusal(error: BaseException) -> str:
    """The message of the PgolfError that led to an exception of OmegaConf; empty if none did."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PgolfError):
        cause = cause.__cause__ or cause.__context__
    return "" if cause is None else str(cause)


def save(resolved: dict[str, Any], path: Path) -> None:
    """Write a resolved configuration as YAML, with sorted keys, whole or not at all. Raises OSError."""
    write_whole(path, yaml_text(resolved).encode())


def literal(value: Any) -> Any:
    """Plain data with every `${` escaped, so that OmegaConf reads all text literally."""
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def quantizer_choices(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, node) of every choice of conf/quant. Their interpolations are resolved in a resolved configuration."""
    register()  # a worker has not registered the resolvers: its own configuration is resolved already
    whole = OmegaConf.create(literal(config))
    for path in sorted(Path(conf_dir() / "quant").glob("*.yaml")):
        whole.quant = _loaded(path, path.stat().st_mtime_ns)
        resolved = OmegaConf.to_container(whole.quant, resolve=True)
        assert isinstance(resolved, dict)
        yield path.stem, {str(key): value for key, value in resolved.items()}


def default_rank(width: int) -> int:
    """The rank of model/q_proj=low_rank in a model of this width, unless an override sets it."""
    register()
    path = conf_dir() / "model" / "q_proj" / "low_rank.yaml"
    whole = OmegaConf.create({"model": {"width": width}})
    whole.model.q_proj = _loaded(path, path.stat().st_mtime_ns)
    return int(whole.model.q_proj.rank)


@lru_cache(maxsize=64)
def _loaded(path: Path, _modified_ns: int) -> Any:
    """A YAML file; OmegaConf copies it where it is assigned. Another modification time is another file."""
    return OmegaConf.load(path)
