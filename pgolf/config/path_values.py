r"""Quotes the names of files and folders on a command line, so that any name that a file system allows can be given.

Hydra's grammar accepts few characters outside quotes, and OmegaConf reads `${` in text as an interpolation.
`quote_paths` puts the values that are meant as names in quotes and a `\` before each `${`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from pgolf.config.compose import literal

PATHS = (
    *("data.path", "data.tokenizer", "data.train_glob", "data.val_glob"),
    *("paths.out", "paths.cache", "train.from", "tracker.folder"),
)
SPECIAL = re.compile(r"[^\w./+@%*?|-]|[^\x00-\x7f]")  # characters that Hydra may refuse or interpret


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments, in which paths that Hydra would misread are quoted.

    An option that holds a path (PATHS) is quoted if the path exists or lies in an existing folder with special
    characters in its name, or if Hydra cannot read the value as text, an interpolation or a sweep. The value of any
    other option is quoted if Hydra cannot read it and it is an existing path.
    """
    return [_quote_path(text) for text in arguments]


def _quote_path(text: str) -> str:
    key, is_value, value = text.partition("=")
    if not is_value or not value or (not SPECIAL.search(value) and not value[0].isdigit() and not _is_word(value)):
        return text
    is_path = key.lstrip("+") in PATHS
    parsed = parse_or_none(text)
    if is_path and _is_existing_path(value) and not _is_quoted(parsed):
        return f"{key}={as_text(value)}"
    if parsed is not None and (not is_path or _is_text_or_sweep(parsed)):
        return text
    if is_path and parsed is None and "," in value:
        return f"{key}={','.join(_quote_part(part) for part in value.split(','))}"
    return f"{key}={as_text(value)}" if is_path or _exists(value) else text


def _is_word(value: str) -> bool:
    """Whether Hydra reads plain text as another type than text."""
    return value.lower() in ("true", "false", "inf", "nan")


def _quote_part(text: str) -> str:
    """One value of a sweep over paths, quoted if necessary."""
    return text if not SPECIAL.search(text) or _is_quoted(parse_or_none(f"k={text}")) else as_text(text)


def as_text(value: str) -> str:
    """A value in quotes, so that Hydra and OmegaConf keep every character of it."""
    return QuotedString(literal(value), Quote.single).with_quotes()


def parse_or_none(text: str) -> Override | None:
    """The override in a text; None if Hydra cannot read it."""
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
    except (HydraException, ValueError, RecursionError, AssertionError):
        return None
    return override


def _is_quoted(override: Override | None) -> bool:
    return override is not None and isinstance(override._value, QuotedString)


def _is_text_or_sweep(override: Override) -> bool:
    """Whether the value is text, an interpolation, null or a sweep."""
    return override.is_sweep_override() or override.value() is None or isinstance(override._value, str | QuotedString)


def _exists(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # the name is too long, or names an unknown user's home
        return False


def _is_existing_path(value: str) -> bool:
    """Whether a path exists, or lies below an existing folder that has a special character in its name."""
    if _exists(value):
        return True
    return any(SPECIAL.search(parent.name) and _exists(str(parent)) for parent in Path(value).parents)
