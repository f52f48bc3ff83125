"""Which class an open slot may name, and whether that class takes the slot's keys: both known before anything is built.

A class is named by its dotted path in `_target_`. A path is text that may come from anybody's file, so it is imported
only if a YAML in the slot's own config group names it too. Code that builds a slot by itself may give the class in the
place of its path.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from pgolf.config.folders import config_folders
from pgolf.errors import suggest
from pgolf.machine.typed import fits, wanted

RESERVED = ("_target_", "_partial_")
TARGET_LINE = re.compile(r"^_target_:\s*['\"]?([\w.]+)", re.MULTILINE)


def annotations(cls: type) -> dict[str, Any]:
    """The constructor's annotations; none where they cannot be evaluated outside type checking."""
    try:
        return get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError):
        return {}


def group_of(path: str) -> str:
    """The config group that a slot is chosen from: optim.roles.head -> optim/algorithm."""
    section = path.rpartition(".")[0]
    groups = {"optim.roles": "optim/algorithm", "model.side_inputs": "model/side_inputs"}
    return groups.get(section) or path.replace(".", "/")


def trusted_targets(path: str) -> set[str]:
    """The classes that a slot may name: those that the YAMLs of its config group name."""
    folders = [folder / group_of(path) for folder in config_folders()]
    return {target for folder in folders if folder.is_dir() for target in targets_in(folder, folder.stat().st_mtime_ns)}


@lru_cache(maxsize=256)
def targets_in(folder: Path, _mtime_ns: int) -> tuple[str, ...]:
    """The `_target_` of each YAML of a folder; read once while no file comes or goes."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.yaml"))]
    return tuple(str(found[1]) for text in texts if (found := TARGET_LINE.search(text)))


def locate(path: str, target: object) -> type:
    """The class that the slot at `path` names. Raises ImportError with what is wrong; no module is imported for a class
    without trust.
    """
    if isinstance(target, type):
        return target
    if not isinstance(target, str) or "." not in target.strip("."):
        raise ImportError("Give the dotted path of a class")
    if target not in trusted_targets(path):
        raise ImportError(
            f"No YAML of conf/{group_of(path)} names this class, and no other is built. Add one for a class of your own"
        )
    module_name, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(module_name), name, None)
    if not isinstance(found, type):
        raise ImportError(f"{module_name} has no class {name}")
    return found


def bind(path: str, node: Any) -> list[str]:
    """Problems of one slot, each `path: what (value). remedy`; none if its class would take its keys."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        group = path.replace(".", "/")
        return [
            f"{path}: not a component ({node}). Choose one of its config group, as in {group}={node}, or give it a "
            "_target_"
        ]
    target = node["_target_"]
    try:
        cls = locate(path, target)
    except ImportError as error:
        return [f"{path}._target_: cannot be used ({target}). {error}"]
    if node.get("_partial_") is not True:
        return [f"{path}._partial_: must be true ({node.get('_partial_')}). The run supplies the remaining arguments"]
    parameters = inspect.signature(cls).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    hints = annotations(cls)
    problems = []
    for key, value in node.items():
        if key in RESERVED:
            continue
        if key not in known:
            keys = f"{cls.__name__} takes {', '.join(known) or 'no keys'}"
            problems.append(f"{path}.{key}: no such key ({value}).{suggest(str(key), known)} {keys}")
        elif value == "???":
            problems.append(f"{path}.{key}: has no value. Give it as {path}.{key}=...")
        elif key in hints and not fits(value, hints[key]):
            problems.append(f"{path}.{key}: needs {wanted(hints[key])} ({value})")
    return problems + [f"{path}.{key}: is missing. Give it as +{path}.{key}=..." for key in needed if key not in node]
