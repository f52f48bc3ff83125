"""The configuration that a run folder keeps, read as a stranger's: plain data, checked as a command line is before
anything is built.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from pgolf.config.checks import problems_of
from pgolf.config.compose import save
from pgolf.config.schema import DECIDED, SECTIONS, Config, PathsConfig, StudyConfig, plain_config, typed_config
from pgolf.config.sections import at, type_problems
from pgolf.errors import ConfigError, DamagedFile
from pgolf.machine.plain import read_yaml
from pgolf.machine.typed import fits, wanted

CONFIG = "config.yaml"
REMEDY = "Give a run folder that pgolf.train made"
CHOICE = str | list[str] | None
IDENTITY = {"study": str, "arm": str, "fingerprint": str, "overrides": list[str]}  # and choices.*
SHOWN = 3


@dataclass(frozen=True)
class SavedRun:
    """The configuration of a run folder. identity: what its section `run` says: study, arm, fingerprint, choices."""

    config: Config
    identity: Mapping[str, Any]


def load_saved(folder: Path, paths: PathsConfig | None = None) -> SavedRun:
    """The configuration of a run folder.

    paths: replaces the saved section `paths`, so that nothing is written where somebody else's file says.
    Raises ConfigError if there is no such file, DamagedFile if it is not the configuration of a run.
    """
    path = folder / CONFIG
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). {REMEDY}") from None
    given = None if paths is None else (paths.out, paths.cache)
    return deepcopy(_load(path, stat.st_mtime_ns, stat.st_size, given))


@lru_cache(maxsize=64)
def _load(path: Path, _mtime_ns: int, _size: int, paths: tuple[str, str] | None) -> SavedRun:
    try:
        resolved = read_yaml(path, REMEDY)
    except FileNotFoundError:
        raise ConfigError(f"{path}: is missing. {REMEDY}") from None
    if isinstance(resolved, dict) and paths is not None:
        resolved["paths"] = dict(zip(("out", "cache"), paths, strict=True))
    problems = problems_of_saved(resolved)
    if problems:
        more = f" and {len(problems) - SHOWN} more problems" if len(problems) > SHOWN else ""
        raise DamagedFile(path, f"is not a run's configuration: {'; '.join(problems[:SHOWN])}{more}", REMEDY)
    return SavedRun(typed_config(resolved), resolved["run"])


def save_run(config: Config, identity: Mapping[str, Any], folder: Path) -> None:
    """Write the configuration of a run into its folder, whole or not at all. Raises OSError."""
    save({**plain_config(config), "run": dict(identity)}, folder / CONFIG)


def problems_of_saved(config: Any) -> list[str]:
    """What keeps plain data from being the configuration of a run; none for one that pgolf.train saved."""
    if not isinstance(config, dict):
        return ["it is not a table of sections"]
    run = config.get("run")
    if not isinstance(run, dict):
        return ["it has no section `run`"]
    problems = identity_problems(run) + section_types({key: value for key, value in config.items() if key != "run"})
    if problems:
        return problems
    whole = {key: value for key, value in config.items() if key != "run"}
    if config["launch"].get("gpus_per_job") == 0:  # what `auto` means on a CPU
        whole["launch"] = {**config["launch"], "gpus_per_job": "auto"}
    whole["study"] = dict.fromkeys(get_type_hints(StudyConfig)) | config["study"]  # study.json has the rest
    return problems_of(whole)


def identity_problems(run: Mapping[str, Any]) -> list[str]:
    """The section `run`: which run it is."""
    problems = [f"run.{key} is missing" for key in IDENTITY if key not in run]
    for key, value in run.items():
        hint = CHOICE if str(key).startswith("choices.") else IDENTITY.get(key)
        if hint is None:
            problems.append(f"run.{key}: no such key")
        elif not fits(value, hint):
            problems.append(f"run.{key}: needs {wanted(hint)} ({value!r:.60})")
    if not problems and not re.fullmatch(r"[0-9a-f]{16}", run["fingerprint"]):
        problems.append(f"run.fingerprint: needs 16 hexadecimal digits ({run['fingerprint']!r:.60})")
    return problems


def section_types(config: Mapping[str, Any]) -> list[str]:
    """Values of the closed sections that are not of the schema's types."""
    problems = []
    for prefix in SECTIONS:
        node = at(config, prefix) if prefix else config
        if not isinstance(node, dict):
            problems.append(f"{prefix}: needs a section ({node!r:.60})")
            continue
        problems += type_problems(node, prefix, dict.fromkeys(DECIDED, int))
    return problems
