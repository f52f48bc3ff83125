"""Reads and writes the configuration in a run folder.

The file is untrusted: it is read as plain data, and checked like a command line before anything is built.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from pgolf.config.added import NO_TRACKER, completed
from pgolf.config.checks import problems_of
from pgolf.config.compose import save
from pgolf.config.folders import OWN_CONF
from pgolf.config.schema import DECIDED, SECTIONS, Config, PathsConfig, StudyConfig, plain_config, typed_config
from pgolf.config.sections import node_at, type_problems
from pgolf.errors import ConfigError, DamagedFile
from pgolf.machine.plain import read_yaml
from pgolf.machine.typed import fits, wanted

CONFIG = "config.yaml"
REMEDY = "Give a run folder that pgolf.train wrote"
CHOICE = str | list[str] | None
IDENTITY = {"study": str, "arm": str, "fingerprint": str, "overrides": list[str]}  # and choices.*
SHOWN = 3  # problems in a message


@dataclass(frozen=True)
class SavedRun:
    """The configuration of a run folder. identity: its section `run`: study, arm, fingerprint, overrides, choices."""

    config: Config
    identity: Mapping[str, Any]


def load_saved(folder: Path, paths: PathsConfig | None = None, *, reads_only: bool = False) -> SavedRun:
    """The configuration of a run folder.

    paths: replaces the saved section `paths`, so that an untrusted file cannot choose where files are written. Then the
    run has no tracker, so that such a file cannot choose where numbers are sent.
    reads_only: nothing will be written there, and the files that the configuration names are not looked at.
    Raises ConfigError if the file cannot be read, DamagedFile if it is not the configuration of a run.
    """
    path = folder / CONFIG
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). {REMEDY}") from None
    folders = None if paths is None else (paths.out, paths.cache)
    return deepcopy(_load(path, stat.st_mtime_ns, stat.st_size, folders, reads_only))


@lru_cache(maxsize=64)
def _load(path: Path, _mtime_ns: int, _size: int, paths: tuple[str, str] | None, reads_only: bool) -> SavedRun:
    try:
        resolved = read_yaml(path, REMEDY)
    except FileNotFoundError:
        raise ConfigError(f"{path}: is missing. {REMEDY}") from None
    resolved = completed(resolved)
    if isinstance(resolved, dict) and paths is not None:
        resolved["paths"] = dict(zip(("out", "cache"), paths, strict=True))
        resolved["tracker"] = dict(NO_TRACKER)
    problems = problems_of_saved(resolved, reads_only=reads_only)
    if problems:
        more = f" and {len(problems) - SHOWN} more problems" if len(problems) > SHOWN else ""
        shown = "; ".join(problem.removesuffix(f". {OWN_CONF}") for problem in problems[:SHOWN])
        remedy = OWN_CONF if any(problem.endswith(OWN_CONF) for problem in problems) else REMEDY
        raise DamagedFile(path, f"is not a run's configuration: {shown}{more}", remedy)
    return SavedRun(typed_config(resolved), resolved["run"])


def save_run(config: Config, identity: Mapping[str, Any], folder: Path) -> None:
    """Write the configuration of a run into its folder, whole or not at all. Raises OSError."""
    save({**plain_config(config), "run": dict(identity)}, folder / CONFIG)


def problems_of_saved(config: Any, *, reads_only: bool = False) -> list[str]:
    """Problems of plain data as the configuration of a run. Empty for every file that pgolf.train wrote."""
    if not isinstance(config, dict):
        return ["it is not a table of sections"]
    run = config.get("run")
    if not isinstance(run, dict):
        return ["it has no section `run`"]
    whole = {key: value for key, value in config.items() if key != "run"}
    if problems := identity_problems(run) + section_types(whole):
        return problems
    if config["launch"].get("gpus_per_job") == 0:  # the value of `auto` on a CPU, which is not a valid option
        whole["launch"] = {**config["launch"], "gpus_per_job": "auto"}
    whole["study"] = dict.fromkeys(get_type_hints(StudyConfig)) | config["study"]  # the rest is in study.json
    return problems_of(whole, reads_only=reads_only)


def identity_problems(run: Mapping[str, Any]) -> list[str]:
    """Problems of the section `run`, which identifies the run."""
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
    """Problems of missing closed sections, and of their values that do not have the types of the schema."""
    problems = []
    for prefix in SECTIONS:
        node = node_at(config, prefix) if prefix else config
        if not isinstance(node, dict):
            problems.append(f"{prefix}: needs a section ({node!r:.60})")
            continue
        problems += type_problems(node, prefix, dict.fromkeys(DECIDED, int))
    return problems
