"""`search.json` beside `sweep.json`: every search of a folder, with its space and its trials.

The scores stand there for readers. A search takes them from the records of its runs, and only the values of its trials
from this file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pgolf.config.space import Space
from pgolf.errors import DamagedFile
from pgolf.machine.files import write_lines
from pgolf.machine.locks import locked
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed
from pgolf.sweep.pruning import Trial

SEARCH = "search.json"
SEARCH_SCHEMA = 1
REMEDY = "Move the file; the next search writes it again"
# Options that may change when a search goes on.
CHANGEABLE = ("hydra.sweeper.n_trials", "hydra.sweeper.n_jobs", "hydra/launcher", "hydra.launcher.", "launch.")


@dataclass(frozen=True)
class Search:
    """One search. command: its overrides without those of CHANGEABLE, sorted. space: the dimensions by option.

    settings: of the sweeper, at the latest command.
    """

    command: tuple[str, ...]
    space: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Searches:
    """The content of the file."""

    schema_version: int
    searches: tuple[Search, ...]


def key_of(command: Sequence[str]) -> tuple[str, ...]:
    """The overrides that say which search it is."""
    return tuple(sorted(word for word in command if not word.lstrip("+~").startswith(CHANGEABLE)))


def read_searches(folder: Path) -> list[Search]:
    """The searches in the folder of a study; empty without the file. Raises DamagedFile."""
    path = folder / SEARCH
    try:
        found = typed(Searches, read_json(path, REMEDY))
        if found.schema_version != SEARCH_SCHEMA:
            raise ValueError(f"its schema is {found.schema_version}, not {SEARCH_SCHEMA}")
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DamagedFile(path, f"is not a valid file of searches: {error}", REMEDY) from None
    return list(found.searches)


def earlier_trials(folder: Path, command: Sequence[str], space: Space) -> list[Trial]:
    """The trials of the same search in its file; empty without them.

    Raises DamagedFile if they do not fit the space.
    """
    trials = next((list(search.trials) for search in read_searches(folder) if search.command == key_of(command)), [])
    for number, trial in enumerate(trials):
        fits = set(trial.values) == {dimension.key for dimension in space.dimensions}
        fits = fits and all(dimension.holds(trial.values[dimension.key]) for dimension in space.dimensions)
        if trial.number != number or not 0 <= trial.after <= number or not fits:
            raise DamagedFile(folder / SEARCH, f"trial {number} is not of this space", REMEDY)
    return [Trial(trial.number, trial.after, trial.values) for trial in trials]


def write_search(folder: Path, search: Search) -> None:
    """Add a search to the file, or replace its earlier state. Raises PgolfError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{SEARCH}.lock"):
        others = [other for other in read_searches(folder) if other.command != search.command]
        content = asdict(Searches(SEARCH_SCHEMA, (*others, search)))
        for each in content["searches"]:
            for trial in each["trials"]:
                del trial["curves"]  # they are in metrics.jsonl of each run
        write_lines(folder / SEARCH, [json.dumps(content, indent=1, allow_nan=False) + "\n"])
