"""Pictures of inspected runs in a report: from the files that `pgolf.inspect --save` left in their folders."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pgolf.errors import PgolfError
from pgolf.machine.files import is_inside, write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed
from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.gallery import Exhibit
from pgolf.pages.figures.spectra import Panel, picture_of
from pgolf.pages.figures.style import shorten

INSPECTION, TRUNCATION = "inspection.json", "truncation.json"
REMEDY = "Delete it, or inspect the run again"
MOST_BYTES = 16 * 2**20
MOST_RUNS = 4  # on one page: a run has up to twenty pictures
LONGEST = 60  # characters of the name of a run
CAPTION = (
    "Singular values and energy of each matrix of a trained run. Grey: the range of random matrices of the same sizes "
    "and factorisation."
)


@dataclass(frozen=True)
class Saved:
    """The content of a file."""

    panels: tuple[Panel, ...]


def save_panels(path: Path, panels: Sequence[Panel]) -> None:
    """Write the numbers of pictures, whole or not at all. Raises OSError."""
    write_lines(path, [json.dumps(asdict(Saved(tuple(panels))), allow_nan=False) + "\n"])


def read_panels(path: Path) -> list[Panel]:
    """The numbers of pictures; empty without the file. The file is not trusted. Raises ValueError, and PgolfError."""
    try:
        panels = typed(Saved, read_json(path, REMEDY, MOST_BYTES)).panels
    except FileNotFoundError:
        return []
    return list(panels)


def inspected_runs(results: StudyResults) -> list[tuple[str, list[Path]]]:
    """(name, files of the inspection) of each run of a folder that has any."""
    found = []
    for row in results.collected.rows if results.source.is_dir() else []:
        if row["status"] == "ok" and (row["folder"] == "." or is_inside(row["folder"])):
            paths = (results.source / row["folder"] / name for name in (INSPECTION, TRUNCATION))
            found.append((f"{row['arm']} seed {row['seed']}", [path for path in paths if path.exists()]))
    runs = [(run, paths) for run, paths in found if paths]
    return list(zip(shorten([run for run, _ in runs], LONGEST), (paths for _, paths in runs), strict=True))


def inspections(results: StudyResults) -> list[Exhibit]:
    """The pictures of the first inspected runs of a folder, one panel each; no exhibit without any."""
    panels: dict[str, Picture] = {}
    damaged = []
    runs = inspected_runs(results)
    for run, paths in runs[:MOST_RUNS]:
        try:
            found = [picture_of(panel) for path in paths for panel in read_panels(path)]
        except (ValueError, PgolfError, OSError):
            damaged.append(run)
            continue
        for number, picture in enumerate(found, len(panels)):
            panels[f"{picture.title} ({run})"] = replace(picture, name=f"inspection-{number}")
    notes = f" {len(runs) - MOST_RUNS} more inspected runs are left out." if len(runs) > MOST_RUNS else ""
    notes += f" Damaged and left out: the inspections of {', '.join(damaged)}." if damaged else ""
    return [Exhibit("inspections", "Inside the weights", CAPTION + notes, panels)] if runs else []
