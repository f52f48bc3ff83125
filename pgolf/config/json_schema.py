"""`python -m pgolf.config.json_schema [PACKAGE]`: prints a JSON Schema of the configuration, for editors of YAML files.

Without PACKAGE it is the schema of files with the line `# @package _global_`: studies, arms, stacks and scales. With
one, such as model.head, data or optim.roles.matrix, it is that of the files of one config group, whose keys stand under
PACKAGE. Types come from pgolf.config.schema and from the classes that the choices name, notes from their comments.

Every value may be an interpolation, ${...}. Exit code: 0 ok, 2 for an unknown PACKAGE.
"""

import argparse
import json
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from pgolf.command import OK, Parser, run
from pgolf.config.binding import RESERVED, annotations, group_of, locate
from pgolf.config.help import choice_files, read_options, section_options
from pgolf.config.ranges import range_of
from pgolf.config.schema import SECTIONS, slot_paths
from pgolf.errors import ConfigError, suggest
from pgolf.study.description import ClaimTest, FamilyPlan, LadderPlan
from pgolf.study.probes import ProbePlan

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTERPOLATION = {"type": "string", "pattern": r"\$\{"}
PRIMITIVES = {int: "integer", float: "number", bool: "boolean", type(None): "null"}
SIDE_INPUTS = "model.side_inputs"
Schema = dict[str, Any]


def of_type(hint: Any) -> Schema:
    """The schema of a type annotation, without interpolations. Text may also be written as a number."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [of_type(option) for option in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return {"type": "array", "items": of_value(of_type(inner[0]) if inner else {})}
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {"type": "object", "additionalProperties": of_value(of_type(inner[1]))}
    if is_dataclass(hint) and isinstance(hint, type):
        return of_plan(hint)
    if hint is str:
        return {"type": ["string", "number"]}
    return {"type": PRIMITIVES[hint]} if hint in PRIMITIVES else {}


def of_value(schema: Schema) -> Schema:
    """A schema that also accepts an interpolation. Unlike anyOf, it leaves errors at the place where they are."""
    return {"if": INTERPOLATION, "else": schema} if schema else {}


def of_plan(cls: type, without: Sequence[str] = ()) -> Schema:
    """The schema of a part of a study, whose dataclass has defaults for what may be left out."""
    hints = get_type_hints(cls)
    names = [field for field in fields(cls) if field.name not in without]
    needed = [field.name for field in names if field.default is MISSING and field.default_factory is MISSING]
    return {
        "type": "object",
        "properties": {field.name: of_value(of_type(hints[field.name])) for field in names},
        "required": needed,
        "additionalProperties": False,
    }


def study_parts() -> dict[str, Schema]:
    """The schemas of the keys of a study whose type in pgolf.config.schema says less than their dataclass."""
    claim = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "note": {"type": "string"},
            "tests": {"type": "array", "items": of_plan(ClaimTest)},
        },
        "required": ["text", "note", "tests"],
        "additionalProperties": False,
    }
    return {
        "study.families": {"type": "object", "additionalProperties": of_plan(FamilyPlan, without=("name",))},
        "study.claims": {"type": "array", "items": claim},
        "study.ladders": {"type": "array", "items": of_plan(LadderPlan)},
        "study.probe": {"if": {"maxProperties": 0}, "else": of_plan(ProbePlan)},
    }


def notes() -> dict[str, str]:
    """{dotted path: comment} of the options in the files that hold the defaults of each section."""
    return {name: option.note for name, option in section_options() if option.note}


def of_slot(path: str) -> Schema:
    """The schema of an open slot: any option of any of its choices."""
    properties: dict[str, list[Schema]] = {}
    described: dict[str, str] = {}
    for file in choice_files(group_of(path)):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        target = content.get("_target_")
        hints = annotations(locate(path, target)) if target else {}
        described |= {option.keys[0]: option.note for option in read_options(file) if option.note}
        for key in content:
            if key not in (*RESERVED, "defaults"):
                schema = of_type(hints[key]) if key in hints else {}
                if schema not in properties.setdefault(key, []):
                    properties[key].append(schema)
    merged = {key: of_value({} if {} in found else {"anyOf": found}) for key, found in properties.items()}
    for key, schema in merged.items():
        if key in described:
            merged[key] = {"description": described[key], **schema}
    own = {"_target_": {"type": "string"}, "_partial_": {"type": "boolean"}}
    return {"type": "object", "properties": {**own, **merged}, "additionalProperties": False}


def of_section(path: str) -> Schema:
    """The schema of a closed section at a dotted path; every key may be left out."""
    hints, described, parts = get_type_hints(SECTIONS[path]), notes(), study_parts()
    properties: dict[str, Schema] = {}
    for key, hint in hints.items():
        dotted = f"{path}.{key}".lstrip(".")
        if dotted in SECTIONS:
            schema = of_section(dotted)
        elif dotted == SIDE_INPUTS:
            schema = {"type": "object", "additionalProperties": of_slot(SIDE_INPUTS + ".any")}
        elif dotted in slot_paths() and dotted not in parts and not path.startswith("study"):
            schema = of_slot(dotted)
        else:
            schema = parts.get(dotted, of_type(hint))
            if limits := range_of(dotted):
                schema = {**schema, "minimum": limits[0], "maximum": limits[1]}  # of numbers only
            schema = of_value(schema)
        properties[key] = {"description": described[dotted], **schema} if dotted in described else schema
    return {"type": "object", "properties": properties, "additionalProperties": False}


def json_schema(package: str = "") -> Schema:
    """The schema of the YAML files whose keys stand under a package; empty for the top level. Raises ConfigError."""
    below = package.startswith(f"{SIDE_INPUTS}.")
    if package in SECTIONS:
        schema = of_section(package)
    elif package in slot_paths() or below:
        schema = of_slot(package)
    else:
        known = [path for path in (*SECTIONS, *slot_paths()) if path]
        raise ConfigError(f"PACKAGE: no such section ({package}).{suggest(package, known)} Known: {', '.join(known)}")
    own = {"defaults": {"type": "array"}, "hydra": {"type": "object"}}
    title = f"pgolf: {package or 'studies, arms, stacks and scales'}"
    return {"$schema": DIALECT, "title": title, **schema, "properties": {**own, **schema["properties"]}}


def command(arguments: list[str]) -> int:
    parser = Parser(
        prog="python -m pgolf.config.json_schema",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", nargs="?", default="", help="a section, such as model.head")
    print(json.dumps(json_schema(parser.parse_args(arguments).package), indent=1))
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
