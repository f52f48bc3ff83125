r"""Values of a command line that name files and folders: any name that a file system allows, written so that Hydra and
OmegaConf keep it.

Hydra's grammar takes few characters outside quotes, and OmegaConf reads `${` in a text as an interpolation. `quoted`
puts a value that is meant as a name in quotes and `\` before its `${`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from pgolf.config.compose import literal

PATHS = ("data.path", "data.tokenizer", "data.train_glob", "data.val_glob", "paths.out", "paths.cache", "train.from")
SPECIAL = re.compile(r"[^\w./+@%*?|-]|[^\x00-\x7f]")  # what Hydra may not take, or not as itself


def quoted(arguments: Sequence[str]) -> list[str]:
    """The arguments, with values that name a place in quotes where Hydra would not take them as they stand.

    Of an option that names a place (PATHS) that is each value that exists or lies in a folder that exists, and each
    that Hydra's grammar cannot read as text, an interpolation or a sweep; of any other option a value that Hydra cannot
    read and that exists.
    """
    return [_quoted(text) for text in arguments]


def _quoted(text: str) -> str:
    key, is_value, value = text.partition("=")
    if not is_value or not value or (not SPECIAL.search(value) and not value[0].isdigit() and not _is_word(value)):
        return text
    is_path = key.lstrip("+") in PATHS
    parsed = parsed_or_none(text)
    if is_path and _stands(value) and not _is_quoted(parsed):
        return f"{key}={as_text(value)}"
    if parsed is not None and (not is_path or _names_or_sweeps(parsed)):
        return text
    if is_path and parsed is None and "," in value:
        return f"{key}={','.join(_part(part) for part in value.split(','))}"
    return f"{key}={as_text(value)}" if is_path or _exists(value) else text


def _is_word(value: str) -> bool:
    """Whether Hydra takes a plain text for something else than a text."""
    return value.lower() in ("true", "false", "inf", "nan")


def _part(text: str) -> str:
    """One value of a sweep over names."""
    return text if not SPECIAL.search(text) or _is_quoted(parsed_or_none(f"k={text}")) else as_text(text)


def as_text(value: str) -> str:
    """A text as a value of Hydra's grammar, which keeps every character of it."""
    return QuotedString(literal(value), Quote.single).with_quotes()


def parsed_or_none(text: str) -> Override | None:
    """The override that a text is; None where Hydra cannot read it."""
    try:
        (made,) = OverridesParser.create().parse_overrides([text])
    except (HydraException, ValueError, RecursionError, AssertionError):
        return None
    return made


def _is_quoted(override: Override | None) -> bool:
    return override is not None and isinstance(override._value, QuotedString)


def _names_or_sweeps(override: Override) -> bool:
    """Whether a value is a text, in quotes or not, an interpolation, nothing, or a sweep."""
    return override.is_sweep_override() or override.value() is None or isinstance(override._value, str | QuotedString)


def _exists(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # longer than a name may be; of an unknown user's home
        return False


def _stands(value: str) -> bool:
    """Whether a value exists as it stands, or lies below a folder that exists and has a special character in its own
    name.
    """
    if _exists(value):
        return True
    return any(SPECIAL.search(parent.name) and _exists(str(parent)) for parent in Path(value).parents)
