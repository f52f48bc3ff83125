"""`pgolf.figures`: the pictures of the report, as objects that a notebook shows.

Each function takes what `pgolf.compare` takes: a study's folder, a results .jsonl file, or rows of `pgolf.load`.
Curves need a folder, a file or a whole result of `pgolf.load`, because selected rows have none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import overload

import pandas as pd

from pgolf.api.comparison import results_of
from pgolf.api.results import Source
from pgolf.pages.figures.export import Picture, write_png
from pgolf.pages.figures.gallery import Exhibit, gallery
from pgolf.tables.contrast import Settings

__all__ = ["Pictures", "all", "bytes", "differences", "published", "training", "validation"]
EMPTY = (
    "Nothing to draw: these runs have no such numbers. Curves are in a folder, a file or a whole result of pgolf.load; "
    "selected rows have none."
)


@dataclass(frozen=True)
class Pictures(Sequence[Picture]):
    """Pictures of one kind, one per family of arms, with the caption that explains their lines, bands and bars.

    A notebook shows all of them. Each has `title`, `description` (its numbers as text) and `figure`, of matplotlib.
    """

    heading: str
    caption: str
    pictures: tuple[Picture, ...]

    @overload
    def __getitem__(self, at: int) -> Picture: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Picture, ...]: ...
    def __getitem__(self, at: int | slice) -> Picture | tuple[Picture, ...]:
        return self.pictures[at]

    def __len__(self) -> int:
        return len(self.pictures)

    def _repr_html_(self) -> str:
        heading = f"<h3>{escape(self.heading)}</h3><p>{escape(self.caption)}</p>"
        return heading + "".join(
            f"<figure><figcaption>{escape(picture.title)}</figcaption>{picture._repr_html_()}</figure>"
            for picture in self.pictures
        )

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write each picture as NAME.png with a white background. Returns the files. Raises PgolfError."""
        return [write_png(picture, Path(folder)) for picture in self.pictures]


def all(runs: Source | pd.DataFrame, *, baseline: str | None = None) -> list[Pictures]:
    """Every kind of picture for which there are numbers. baseline: as for `pgolf.compare`. Raises PgolfError."""
    return list(drawn(runs, baseline))


def drawn(runs: Source | pd.DataFrame, baseline: str | None) -> Iterator[Pictures]:
    for exhibit in gallery(results_of(runs, baseline, Settings(), with_curves=True)):
        yield pictures_of(exhibit)


def pictures_of(exhibit: Exhibit) -> Pictures:
    return Pictures(exhibit.heading, exhibit.caption, tuple(exhibit.panels.values()))


def of_kind(name: str, runs: Source | pd.DataFrame, baseline: str | None) -> Pictures:
    """The pictures of one kind; without any where the runs lack the numbers."""
    results = results_of(runs, baseline, Settings(), with_curves=True)
    found = {exhibit.name: exhibit for exhibit in gallery(results)}
    return pictures_of(found[name]) if name in found else Pictures(name.capitalize(), EMPTY, ())


def differences(runs: Source | pd.DataFrame, *, baseline: str | None = None) -> Pictures:
    """The difference of each arm to its baseline with its 95% interval."""
    return of_kind("differences", runs, baseline)


def validation(runs: Source | pd.DataFrame, *, baseline: str | None = None) -> Pictures:
    """Bits per byte of the validation text during training."""
    return of_kind("validation", runs, baseline)


def training(runs: Source | pd.DataFrame, *, baseline: str | None = None) -> Pictures:
    """Bits per byte of the training batches, as a moving average."""
    return of_kind("training", runs, baseline)


def bytes(runs: Source | pd.DataFrame, *, baseline: str | None = None) -> Pictures:
    """Score by the bytes of model and code."""
    return of_kind("bytes", runs, baseline)


def published(runs: Source | pd.DataFrame, *, baseline: str | None = None) -> Pictures:
    """The published and the measured order of the arms of a study."""
    return of_kind("published", runs, baseline)
