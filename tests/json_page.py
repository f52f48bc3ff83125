"""docs/json.md: the keys and types of each command with --json."""

import re
from pathlib import Path
from types import NoneType
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "json.md"
ROW = re.compile(r"^\| `(\w+)` \| ([a-z ]+) \|", re.MULTILINE)
TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "whole number": (int,),
    "true or false": (bool,),
    "list": (list,),
    "object": (dict,),
    "null": (NoneType,),
}


def documented() -> dict[str, dict[str, str]]:
    """{command: {key: type in words}} of docs/json.md."""
    text = PAGE.read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    return {name: dict(rows) for name, section in sections.items() if (rows := ROW.findall(section))}


def check(command: str, value: Any) -> None:
    """A JSON value of a command has exactly the documented keys, with the documented types."""
    types = documented()[command]
    assert set(value) == set(types), command
    for key, words in types.items():
        names = [words] if words in TYPES else words.split(" or ")
        allowed = tuple(kind for name in names for kind in TYPES[name])
        assert isinstance(value[key], allowed), (command, key)
        assert bool in allowed or not isinstance(value[key], bool), (command, key)
