"""Checks an open slot's keys against the signature of the class that it names, before anything is built."""

import importlib
import inspect
import math
import types
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

RESERVED = ("_target_", "_partial_")


def suggest(word: str, known: list[str]) -> str:
    """` Did you mean X?` where something is near, else nothing."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""


def annotations(cls: type) -> dict[str, Any]:
    """The constructor's annotations; none where they cannot be evaluated outside type checking."""
    try:
        return get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError):
        return {}


def locate(target: object) -> type:
    """The class at a dotted path. Raises ImportError with what is missing."""
    if not isinstance(target, str):
        raise ImportError("Give the dotted path of a class")
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise ImportError(f"{target} is no dotted path to a class")
    found = getattr(importlib.import_module(module_name), name, None)
    if not isinstance(found, type):
        raise ImportError(f"{module_name} has no class {name}")
    return found


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain config value has the annotated type; an int is a float, a bool is no int."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(fits(v, get_args(hint)[0]) for v in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    if hint is Any:
        return True
    return isinstance(value, hint) if isinstance(hint, type) else True


def wanted(hint: Any) -> str:
    """A type in a user's words."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(wanted(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "null"}.get(hint, str(hint))


def bind(path: str, node: Any) -> list[str]:
    """Problems of one slot, each `path: what (value). remedy`; none if its class would take its keys."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        group = path.replace(".", "/")
        return [f"{path}: not a component ({node}). Choose one of its config group, as in {group}={node}, or give it a _target_"]
    target = node["_target_"]
    try:
        cls = locate(target)
    except ImportError as error:
        return [f"{path}._target_: cannot be imported ({target}). {error}"]
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
