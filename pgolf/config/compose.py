"""Where the configuration lies, what its interpolations mean, how it is composed and saved."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.folders import conf_dir, config_folders
from pgolf.config.resolvers import register
from pgolf.errors import ConfigError
from pgolf.machine.files import write_whole
from pgolf.machine.plain import yaml_text

CONFIG_NAME = "config"


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
    """Plain data in the form in which OmegaConf reads its texts as they stand: what looks like an interpolation is
    escaped.
    """
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def quantizer_choices(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every choice of conf/quant, interpolations resolved in this configuration."""
    register()  # a worker reads a configuration that is resolved already, these files are not
    whole = OmegaConf.create(literal(config))
    for path in sorted(Path(conf_dir() / "quant").glob("*.yaml")):
        whole.quant = OmegaConf.load(path)
        resolved = OmegaConf.to_container(whole.quant, resolve=True)
        assert isinstance(resolved, dict)
        yield path.stem, {str(key): value for key, value in resolved.items()}
