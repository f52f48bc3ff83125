"""JSON and YAML of unknown origin, read as plain data: bounded, without tags, anchors or interpolation.

Whatever is wrong with a text is a ValueError with a one-line reason. `read_json` and `read_yaml` add the file's name
and raise DamagedFile.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from pgolf.errors import DamagedFile
from pgolf.machine.files import MAX_FILE_BYTES, read_regular

Value = TypeVar("Value")

MAX_DEPTH = 64
FEW = 3
MAX_YAML_BYTES = 2**20
HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")
# A text that does not match cannot hold a string or number that `_check_scalars` refuses.
SUSPECT = re.compile(r"\\u[dD][89a-fA-F]|\\u0000|[eE]\+?\d{3}|\d{300}")


def parse_json(text: str | bytes) -> Any:
    """The value of one JSON text. Raises ValueError for anything but strict JSON.

    Refused: bytes that are not UTF-8, NaN and Infinity, numbers too large for a float, duplicate keys, lone surrogates,
    NUL characters, and more than MAX_DEPTH levels.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start:,}") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, perhaps cut short ({error.msg} at character {error.pos:,})") from None
    check_plain(value, thorough=SUSPECT.search(text) is not None)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON does not have")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it holds the key {next(key for key in keys if keys.count(key) > 1)!r:.60} twice")
    return mapping


def check_plain(value: Any, *, thorough: bool = True) -> None:
    """Raise ValueError for data that is nested too deeply.

    thorough: also for strings and numbers that cannot be shown or used (NUL, half a surrogate pair, infinity).
    """
    nodes = [value]
    for _ in range(MAX_DEPTH):
        if thorough:
            for node in nodes:
                _check_scalars(node)
        nodes = [child for node in nodes for child in _children(node) if thorough or isinstance(child, list | dict)]
        if not nodes:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _check_scalars(node: Any) -> None:
    for text in [node, *(node if isinstance(node, dict) else ())]:
        if isinstance(text, str):
            if "\0" in text:
                raise ValueError("it holds a NUL character")
            if HALF_OF_A_PAIR.search(text):
                raise ValueError("it holds half of a surrogate pair")
    if isinstance(node, float) and not math.isfinite(node):
        raise ValueError("it holds a number that is too large")


def read_json(path: Path, remedy: str = "", most_bytes: int = MAX_FILE_BYTES) -> Any:
    """The value of a JSON file. Raises FileNotFoundError if it does not exist, DamagedFile for any other problem."""
    return _read(path, parse_json, remedy, most_bytes)


def _read(path: Path, parse: Callable[[bytes], Any], remedy: str, most_bytes: int) -> Any:
    try:
        return parse(read_regular(path, most_bytes))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise DamagedFile(path, f"cannot be read ({error.strerror})", remedy) from None
    except ValueError as error:
        raise DamagedFile(path, str(error), remedy) from None


def read_lines(
    path: Path, value_of: Callable[[Any], Value], *, what: str, most_bytes: int
) -> tuple[list[Value], list[str]]:
    """(the values of a file of JSON lines, at most one warning about damaged lines). Both are empty without a file.

    value_of: of the JSON on one line; it raises ValueError for anything damaged. what: the lines in the warning.
    """
    values, problems = [], []
    try:
        for number, line in enumerate(read_regular(path, most_bytes).split(b"\n"), 1):
            if line.strip():
                try:
                    values.append(value_of(parse_json(line)))
                except ValueError as error:
                    problems.append(f"line {number}: {error}")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path}: cannot be read ({error.strerror})"]
    except ValueError as error:
        return [], [f"{path}: {error}"]
    return values, [f"{path}: damaged {what} are left out: {first_few(problems)}"] if problems else []


def first_few(problems: Sequence[str]) -> str:
    """The first problems of a file's lines in one line, and how many more there are."""
    more = f"; and {len(problems) - FEW} more lines" if len(problems) > FEW else ""
    return f"{'; '.join(problems[:FEW])}{more}"


# ---- YAML
# ------------------------------------------------------------------------------------------------------------------


class PlainLoader(yaml.SafeLoader):
    """YAML as Hydra reads it (`1e-3` is a number, a date is text), less anchors, aliases, tags and doubled keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way)
        first: [(tag, regex) for tag, regex in rules if tag.rpartition(":")[2] not in ("timestamp", "float", "int")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it holds an anchor or alias, which a saved configuration never does")
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"it holds the tag {event.tag!r:.60}, which a saved configuration never does")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise ValueError("it holds a key that is not a text or number")
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise ValueError(f"it holds the key {next(key for key in keys if keys.count(key) > 1)!r:.60} twice")
        return super().construct_mapping(node, deep)


PlainLoader.add_implicit_resolver(  # PyYAML's own takes quadratic time for 1:59:59...
    "tag:yaml.org,2002:int",
    re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
        |\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
        re.X,
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str | bytes) -> Any:
    """The value of one YAML document of plain data. Raises ValueError for anything else."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        _refuse_deep(text)
        value = yaml.load(text, PlainLoader)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start:,}") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML ({' '.join(str(error).split())[:120]})") from None
    check_plain(value)
    return value


def _refuse_deep(text: str) -> None:
    """Raise ValueError for deep nesting, before PyYAML takes quadratic time for it. Brackets in strings count too."""
    depth = 0
    for match in re.finditer(r"[\[{\]}]", text):
        depth += 1 if match[0] in "[{" else -1 if depth else 0
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if re.search(rf"(?:[-?:][ \t]+){{{MAX_DEPTH}}}", text):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def read_yaml(path: Path, remedy: str = "") -> Any:
    """The value of a YAML file of plain data.

    Raises FileNotFoundError if it does not exist, DamagedFile for any other problem.
    """
    return _read(path, parse_yaml, remedy, MAX_YAML_BYTES)


class PlainDumper(yaml.SafeDumper):
    """Quotes each text that PlainLoader would read as another type."""

    yaml_implicit_resolvers = PlainLoader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escape unprintable characters: PyYAML writes some line ends (U+0085) raw and reads them as spaces."""
        return self.represent_scalar(
            "tag:yaml.org,2002:str", data, style=None if data.isprintable() or data == "\n" else '"'
        )


PlainDumper.add_representer(str, PlainDumper.represent_str)


def yaml_text(value: Any) -> str:
    """Plain data as YAML with sorted keys; `parse_yaml` gives the same data back."""
    return yaml.dump(value, Dumper=PlainDumper, default_flow_style=False, allow_unicode=True, sort_keys=True)
