"""Makes compositions by Hydra 1.3 at least twice as fast with the same result; tests/config/test_quick_hydra.py checks.
A file that is not YAML becomes a ConfigError, where Hydra lets the exception of the parser through.

A composition reads about forty files and merges them one after another. Hydra parses each file anew every time, for
each builds a table of all choices that only interpolations in a defaults list need, and copies all its schemas. Most
compositions of a process begin with the same files, and merging these takes longer than all the rest.
"""

import copy
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, partialmethod
from typing import Any, cast

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, flag_override
from yaml import MarkedYAMLError, YAMLError

from pgolf.errors import ConfigError

NO_CHOICES = OmegaConf.create()
MOST_STATES = 128  # of some 30 kB each
_loaded: dict[tuple[Any, ...], tuple[bytes, Any]] = {}


@dataclass
class Merged:
    """What follows after a sequence of files has been merged, and the pickled state, if it was needed twice."""

    then: dict[tuple[Any, ...], "Merged"] = field(default_factory=dict)
    state: bytes | None = None


@dataclass
class Tree:
    """The sequences of files that were merged in this process, by their first file, second file and so on."""

    root: Merged = field(default_factory=Merged)
    states: int = 0

    def known(self, steps: Sequence[tuple[Any, ...]]) -> list[Merged]:
        """The nodes of the longest known beginning of a sequence, the root first."""
        nodes = [self.root]
        for step in steps:
            if step not in nodes[-1].then:
                break
            nodes.append(nodes[-1].then[step])
        return nodes

    def add(self, steps: Sequence[tuple[Any, ...]]) -> None:
        if self.states > MOST_STATES:
            self.root, self.states = Merged(), 0
        node = self.root
        for step in steps:
            node = node.then.setdefault(step, Merged())


@dataclass(frozen=True)
class Start:
    """Stands in a list of defaults for those that are merged already."""

    config: DictConfig
    config_path: str = ""


_tree = Tree()


def _origin(source: Any, config_path: str) -> tuple[Any, ...] | None:
    """What tells the content of a file of configuration from any other, or None if nothing does."""
    name, scheme = source._normalize_file_name(config_path), source.scheme()
    place = (scheme, source.provider, source.path, name)
    if scheme == "pkg":
        return place
    if scheme == "structured":
        return *place, id(ConfigStore.instance()._open(name))
    if scheme != "file":
        return None
    try:
        status = os.stat(os.path.join(source.path, name))
    except OSError:
        return None  # Hydra reports the error
    return *place, status.st_mtime_ns, status.st_size


def _load_once(
    repository: Any, config_path: str, *, hydras: Callable[[Any, str], ConfigResult | None]
) -> ConfigResult | None:
    """A file of configuration with its defaults list. It is parsed again only if its time or size has changed."""
    source = repository._find_object_source(config_path, ObjectType.CONFIG)
    if source is None:
        return hydras(repository, config_path)
    hydras = partial(
        _load_file, hydras=hydras, file=os.path.join(source.path, source._normalize_file_name(config_path))
    )
    origin = _origin(source, config_path)
    if origin is None:
        return hydras(repository, config_path)
    if origin not in _loaded:
        # The second part keeps a schema alive, so that no other gets its id.
        schema = ConfigStore.instance()._open(origin[3]) if origin[0] == "structured" else None
        _loaded[origin] = pickle.dumps(hydras(repository, config_path)), schema
    result: Any = pickle.loads(_loaded[origin][0])
    result.origin = origin
    return cast(ConfigResult, result)


def _load_file(
    repository: Any, config_path: str, *, hydras: Callable[[Any, str], ConfigResult | None], file: str
) -> ConfigResult | None:
    """A file of configuration. Raises ConfigError for one that is not YAML with names and values."""
    try:
        result = hydras(repository, config_path)
    except MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ConfigError(f"{file}{where}: is not valid YAML ({error.problem}). Correct it") from None
    except (YAMLError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{file}: is not valid YAML ({reason}). Correct it, and save it as UTF-8") from None
    if result is not None and not isinstance(result.config, DictConfig):
        raise ConfigError(f"{file}: must have names and values, not a list. Write NAME: VALUE")
    return result


def _without_copies(cached: Any, delegate: ConfigRepository, *, hydras: object) -> None:
    """As Hydra's constructor, which copies all schemas; only the list of sources is ever replaced."""
    cached.delegate, cached.cache = copy.copy(delegate), {}


def _load_single(
    loader: Any, default: Any, repo: Any, *, hydras: Callable[[Any, Any, Any], ConfigResult]
) -> ConfigResult | Start:
    return default if isinstance(default, Start) else hydras(loader, default, repo)


def _merge(loader: Any, config: DictConfig, defaults: Sequence[Any], repo: Any) -> DictConfig:
    with flag_override(config, "no_deepcopy_set_nodes", True):
        for default in defaults:
            config.merge_with(loader._load_single_config(default=default, repo=repo).config)
    return config


def _compose_on(
    loader: Any, defaults: list[Any], repo: Any, *, hydras: Callable[[Any, list[Any], Any], DictConfig]
) -> DictConfig:
    """The merged files of a defaults list, from the state in which the list leaves those that were merged before."""
    origins = [getattr(repo.load_config(each.config_path), "origin", None) for each in defaults]
    if None in origins:
        return hydras(loader, defaults, repo)
    steps = [(d.config_path, d.package, d.primary, origin) for d, origin in zip(defaults, origins, strict=True)]
    nodes = _tree.known(steps)
    shared = len(nodes) - 1
    from_step = max((at for at, node in enumerate(nodes) if node.state is not None), default=0)
    state = nodes[from_step].state
    config = OmegaConf.create() if state is None else pickle.loads(state)
    if shared > from_step + 1:
        config = _merge(loader, config, defaults[from_step:shared], repo)
        nodes[shared].state = pickle.dumps(config)
        _tree.states += 1
        from_step = shared
    whole = hydras(loader, [Start(config), *defaults[from_step:]], repo)
    _tree.add(steps)
    return whole


def _choices_if_needed(
    overrides: Any, defaults: Any, self_added: bool, *, hydras: Callable[[Any, Any, bool], DictConfig]
) -> DictConfig:
    """The table of the choices, empty where no entry of the defaults list is an interpolation."""
    if any(entry.is_interpolation() for entry in defaults):
        return hydras(overrides, defaults, self_added)
    return NO_CHOICES


REPLACED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (ConfigRepository, "load_config", _load_once),
    (CachingConfigRepository, "__init__", _without_copies),
    (ConfigLoaderImpl, "_load_single_config", _load_single),
    (ConfigLoaderImpl, "_compose_config_from_defaults_list", _compose_on),
    (defaults_list, "_create_interpolation_map", _choices_if_needed),
)
HYDRAS = [getattr(owner, name) for owner, name, _ in REPLACED]


@contextmanager
def quick_hydra() -> Iterator[None]:
    """A context in which Hydra composes faster. It changes Hydra in this process and restores it at the end."""
    before = [getattr(owner, name) for owner, name, _ in REPLACED]
    try:
        for (owner, name, function), hydras in zip(REPLACED, HYDRAS, strict=True):
            bound = partialmethod if isinstance(owner, type) else partial
            setattr(owner, name, bound(function, hydras=hydras))
        yield
    finally:
        for (owner, name, _), function in zip(REPLACED, before, strict=True):
            setattr(owner, name, function)
