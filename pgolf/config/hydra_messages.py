"""Messages about arguments that Hydra's grammar does not accept, and about errors of Hydra and OmegaConf."""

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

LIST = re.compile(r"\d+ ?(\.\.+|[-:;/ ]) ?\d+|\[.*\]")  # what may be meant as several values of one option


def split_problem(arguments: Sequence[str]) -> str | None:
    """The problem of a list of values that a space has split into several arguments, as `a=b, c`; None without one."""
    for at, argument in enumerate(arguments[:-1]):
        if "=" in argument and argument.endswith(",") and "=" not in arguments[at + 1]:
            end = at + 1
            while end + 1 < len(arguments) and arguments[end].endswith(",") and "=" not in arguments[end + 1]:
                end += 1
            words = arguments[at : end + 1]
            key, value = " ".join(words).split("=", 1)
            return f"{key}: is split by a space after a comma ({value}). Write {''.join(words)}"
    return None


def grammar_problem(argument: str) -> str:
    """The problem of an argument that Hydra's grammar does not accept."""
    key, is_value, value = argument.partition("=")
    key = key.lstrip("+~")
    if is_value and re.fullmatch(r"[A-Za-z_$][\w./@$-]*", key, re.ASCII):
        if key.endswith((".", "/")) or ".." in key or "//" in key:
            return f"{key}: is not a name of an option ({value}). Write key=value or group=choice"
        return f"{key}: cannot be read ({value}). {value_remedy(key, value)}"
    return f"{argument or repr('')}: is not an override. Write key=value or group=choice"


def value_remedy(key: str, value: str) -> str:
    """The remedy for a value that Hydra's grammar does not accept."""
    if value.endswith(",") or value.startswith(","):
        return f"Leave out the comma at its {'end' if value.endswith(',') else 'beginning'}"
    if value.count("'") % 2 or value.count('"') % 2:
        return "It has a quote that does not end: close it, or leave it out"
    for opening, closing in ("[]", "{}", "()"):
        if value.count(opening) != value.count(closing):
            return f"Its {opening} and {closing} do not match: write one {closing} for each {opening}"
    quote = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    return f"Quote text with special characters inside the argument: {shlex.quote(quote)}"


REFUSALS = {  # patterns of OmegaConf's messages, and the text that replaces each
    r"^field '.*' is not Optional": "needs a value (null)",
    r"^Value '(.*)' is not a valid bool.*": r"needs true or false (\1)",
    r"^Merge error: list is not a subclass of .*": "a section needs names and values, not a list",
    r"^Key '.*' not in '\w+'": "is not an option",
    r"^Invalid value assigned: \w+ is not a ListConfig.*": "needs a list. Write it as [A,B]",
    r"^Cannot merge DictConfig with ListConfig": "needs the same kind of value as before: a list [A,B], or names "
    "and values {NAME: VALUE}",
    r"^Cannot assign (\w+) to Dict.*": r"needs names and values, not one \1. Write them as {NAME: VALUE}",
}


def describe_hydra_error(error: Exception) -> str:
    """The message of an error of Hydra or OmegaConf as `path: what`, with common messages rewritten."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text, *more = (line.strip() for line in str(cause).splitlines())
    origin = re.match(r"In '(.*)': \w+ raised while composing config:$", text)
    text = more[0] if origin and more else text
    if isinstance(cause, GrammarParseError):
        text = (
            f'has an interpolation that cannot be read ({text}). Write a path in it in double quotes, ${{name:"a=b"}}'
        )
    if converted := re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", text):
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        text = f"needs {kinds.get(converted.group(2), converted.group(2))} ({converted.group(1)})"
        if LIST.fullmatch(converted.group(1)):
            text += ". Write several values as 1,2,3, with --multirun"
    if match := re.match(r"In '.*': Could not find '(arm(?=/)|.*)/(.*)'$", text):
        return f"{match[1]}: no such choice ({match[2]}). Add the file {match[1]}/{match[2]}.yaml to its config groups"
    if match := re.match(r"Could not override '(.*?)'", text):
        return f"{match[1]}: does not exist in this configuration. --help lists the options"
    for pattern, meaning in REFUSALS.items():
        text = re.sub(pattern, meaning, text)
    key = getattr(cause, "full_key", None)
    if not key:
        match = re.search(r"full_key: (\S+)", str(error))
        key = match.group(1) if match else None
    text = f"{text}. Correct it in the file {origin[1]}.yaml" if origin else text
    return f"{key}: {text}" if key else text
