"""Checks an open slot before it is built: its class must be trusted, and its keys must match the constructor.

`_target_` names a class by its dotted path. The path may come from an untrusted file. Therefore a class is imported
only if a YAML file of the slot's config group names it. Code may give the class itself in place of its path.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from pgolf.config.folders import OWN_CONF, config_folders
from pgolf.errors import suggest
from pgolf.machine.typed import fits, wanted

RESERVED = ("_target_", "_partial_")
TARGET_LINE = re.compile(r"^_target_:\s*['\"]?([\w.]+)", re.MULTILINE)


def annotations(cls: type) -> dict[str, Any]:
    """The type annotations of a constructor; {} if they cannot be evaluated at run time."""
    try:
        return get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError):
        return {}


def group_of(path: str) -> str:
    """The config group of a slot, given by its config path: optim.roles.head -> optim/algorithm."""
    section = path.rpartition(".")[0]
    groups = {"optim.roles": "optim/algorithm", "model.side_inputs": "model/side_inputs"}
    return groups.get(section) or path.replace(".", "/")


def trusted_targets(path: str) -> set[str]:
    """Dotted paths of the classes that a slot may use: those in the YAML files of its config group."""
    folders = [folder / group_of(path) for folder in config_folders()]
    return {target for folder in folders if folder.is_dir() for target in targets_in(folder, folder.stat().st_mtime_ns)}


@lru_cache(maxsize=256)
def targets_in(folder: Path, _mtime_ns: int) -> tuple[str, ...]:
    """The `_target_` of each YAML file of a folder. Cached until a file is added or removed."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.yaml"))]
    return tuple(str(match[1]) for text in texts if (match := TARGET_LINE.search(text)))


def locate(path: str, target: object) -> type:
    """The class at `target`, for the slot at config path `path`.

    Raises ImportError with the reason. Modules of untrusted classes are not imported.
    """
    if isinstance(target, type):
        return target
    if not isinstance(target, str) or "." not in target.strip("."):
        raise ImportError("Give the dotted path of a class")
    if target not in trusted_targets(path):
        raise ImportError(f"No YAML file of conf/{group_of(path)} names this class. {OWN_CONF}")
    module_name, _, name = target.rpartition(".")
    cls = getattr(importlib.import_module(module_name), name, None)
    if not isinstance(cls, type):
        raise ImportError(f"{module_name} has no class {name}")
    return cls


def bind(path: str, node: Any) -> list[str]:
    """Problems of one slot, each `path: what (value). remedy`. Empty if its class accepts its keys and values."""
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
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    required = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    hints = annotations(cls)
    problems = []
    for key, value in node.items():
        if key in RESERVED:
            continue
        if key not in names:
            keys = f"{cls.__name__} takes {', '.join(names) or 'no keys'}"
            problems.append(f"{path}.{key}: no such key ({value}).{suggest(str(key), names)} {keys}")
        elif value == "???":
            problems.append(f"{path}.{key}: has no value. Give it as {path}.{key}=...")
        elif key in hints and not fits(value, hints[key]):
            problems.append(f"{path}.{key}: needs {wanted(hints[key])} ({value})")
    remedy = f"Write it into its YAML file, or give it as +{path}"
    return problems + [f"{path}.{key}: is missing. {remedy}.{key}=..." for key in required if key not in node]
