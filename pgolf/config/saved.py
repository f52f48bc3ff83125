"""The configuration that a run folder keeps, read as a stranger's: plain data, checked as a command line is before
anything is built.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from pgolf.config.checks import at, problems_of, type_problems
from pgolf.config.schema import SECTIONS, StudyConfig
from pgolf.errors import ConfigError, DamagedFile
from pgolf.machine.plain import read_yaml
from pgolf.machine.typed import fits, wanted

CONFIG = "config.yaml"
REMEDY = "Give a run folder that pgolf.train made"
# `auto` or a number on a command line, a number once it is saved.
DECIDED = {"train.threads": int, "launch.gpus_per_job": int}
CHOICE = str | list[str] | None
IDENTITY = {"study": str, "arm": str, "fingerprint": str, "overrides": list[str]}  # and choices.*
SHOWN = 3


def load_saved(folder: Path, paths: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of a run folder, its identity in the section `run`.

    paths: what stands in the place of the saved section `paths`, so that nothing is written where somebody else's file
    says. Raises ConfigError where there is no such file, DamagedFile where it is not a run's.
    """
    path = folder / CONFIG
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). {REMEDY}") from None
    given = None if paths is None else tuple(sorted(paths.items()))
    return deepcopy(_load(path, stat.st_mtime_ns, stat.st_size, given))


@lru_cache(maxsize=64)
def _load(path: Path, _mtime_ns: int, _size: int, paths: tuple[tuple[str, Any], ...] | None) -> dict[str, Any]:
    try:
        config = read_yaml(path, REMEDY)
    except FileNotFoundError:
        raise ConfigError(f"{path}: is missing. {REMEDY}") from None
    if isinstance(config, dict) and paths is not None:
        config["paths"] = dict(paths)
    problems = problems_of_saved(config)
    if problems:
        more = f" and {len(problems) - SHOWN} more problems" if len(problems) > SHOWN else ""
        raise DamagedFile(path, f"is not a run's configuration: {'; '.join(problems[:SHOWN])}{more}", REMEDY)
    return dict(config)


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
        problems += type_problems(node, prefix, DECIDED)
    return problems
