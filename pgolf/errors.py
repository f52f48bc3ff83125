"""The errors that pgolf raises when the user, a file or the machine is at fault.

Rule: a problem that a person can fix is a subclass of PgolfError, printed without a traceback, with exit code 2.
A state that our own code should have made impossible is an `assert` with the values.
"""

from collections.abc import Sequence
from difflib import get_close_matches

LONGEST_COMPARED = 60  # characters of a word that are compared with known words


class PgolfError(Exception):
    """Base of all errors that are printed as one message, without a traceback."""


class ConfigError(PgolfError):
    """One or more problems of a configuration, each `path: what (value). remedy`."""

    def __init__(self, *problems: str):
        self.problems = problems
        super().__init__("\n".join(problems))


class OptionError(PgolfError, ValueError):
    """A hyperparameter that a component refuses; the build layer prefixes the component's config path.

    key: the constructor's keyword; value: the refused value; remedy: what would be accepted.
    """

    def __init__(self, key: str, value: object, remedy: str):
        self.key, self.value, self.remedy = key, value, remedy
        super().__init__(f"{key}: cannot be {value!r}; {remedy}")


class UnavailableOption(OptionError):
    """An option that names something that this machine lacks and another may have: a file, a folder, a library."""


class UnavailableHere(ConfigError):
    """A valid configuration that cannot run on this machine: it lacks a device, a file or a library."""


class DamagedFile(PgolfError):
    """A file whose content is not valid for its kind: `PATH: reason. remedy`."""

    def __init__(self, path: object, reason: str, remedy: str = ""):
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}" + (f". {remedy}" if remedy else ""))


class CoverageError(PgolfError):
    """A parameter that no optimizer trains and that `optim.frozen` does not name, or that never gets a gradient."""


class DataError(PgolfError):
    """A corpus, shard or tokenizer that is missing, damaged or inconsistent."""


class ArtifactError(PgolfError):
    """A packed model file that cannot be trusted or read."""


class DivergedError(PgolfError):
    """The training loss is no longer finite."""


class PrunedError(PgolfError):
    """A search stops one of its trials, because its validation score is worse than that of earlier trials."""


def require(holds: bool, key: str, value: object, remedy: str) -> None:
    """Raise OptionError unless `holds`."""
    if not holds:
        raise OptionError(key, value, remedy)


def require_present(holds: bool, key: str, value: object, remedy: str) -> None:
    """Raise UnavailableOption unless `holds`."""
    if not holds:
        raise UnavailableOption(key, value, remedy)


def suggest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """` Did you mean X?` with the most similar known word; an empty text if none is similar. prefix: put before it."""
    near = get_close_matches(word[:LONGEST_COMPARED], known, n=1, cutoff=0.5)
    return f" Did you mean {prefix}{near[0]}?" if near else ""
