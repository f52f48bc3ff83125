"""`pgolf.load`: the runs of a folder or file as a frame, with their curves beside it."""

import warnings
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path

import pandas as pd

from pgolf.api.frames import LABEL, FrameWithMore, rows_of, typed_frame
from pgolf.machine.clean_text import clean
from pgolf.records.rows import Collected, Row, collect, companion_path
from pgolf.tables.curves import CURVES, Curve, consistent, load_curves, read_curves
from pgolf.tables.groups import group
from pgolf.tables.labels import label_of

Source = str | PathLike[str]


class Results(FrameWithMore):
    """A frame with one row per run, and what belongs to it: `source`, `notes` and `curves`.

    Every operation of pandas (a selection, a copy, a join) gives a plain DataFrame. So `curves` never belongs to other
    rows than those of its frame, which a value in `DataFrame.attrs` would.
    """

    _internal_names = [*pd.DataFrame._internal_names, "_source", "_notes", "_curves"]  # type: ignore[attr-defined]  # noqa: RUF012
    _internal_names_set = set(_internal_names)  # noqa: RUF012

    _source: Path
    _notes: tuple[str, ...]
    _curves: pd.DataFrame | None

    @classmethod
    def of(cls, source: Path, collected: Collected) -> "Results":
        """The rows that were collected from a source."""
        frame = typed_frame(collected.rows)
        if len(frame):
            names = labels(collected.rows)
            categories = list(dict.fromkeys(names))
            frame.insert(2, LABEL, pd.Series(pd.Categorical(names, categories=categories)))
        results = cls(frame)
        results._source, results._notes, results._curves = source, tuple(map(clean, collected.warnings)), None
        return results

    @property
    def source(self) -> Path:
        """The folder or file that was read."""
        return self._source

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read. Failed and missing runs are not here: they are rows."""
        return self._notes

    @property
    def curves(self) -> pd.DataFrame:
        """One row per logged point of each ok run, read at the first use.

        part: `train` (bits per byte and nats per token of the training batches) or `val` (of the live model). A warning
        names the curves that are damaged or contradict the record of their run.
        """
        if self._curves is None:
            curves, problems = curves_of_rows(self.source, rows_of(self))
            for problem in problems:
                warnings.warn(clean(problem), stacklevel=2)
            self._curves = curve_frame(curves)
        return self._curves


def labels(rows: Sequence[Row]) -> list[str]:
    """The name of each row's arm in the tables: without what all arms of its study share."""
    groups = group(rows)
    label = label_of(groups)
    by_row = {id(row): label[id(g)] for g in reversed(groups) for row in g.rows}
    return [by_row[id(row)] for row in rows]


def curves_of_rows(source: Path, rows: Sequence[Row]) -> tuple[list[Curve], list[str]]:
    """The curves of some rows of a source, and a warning about each that is left out."""
    if source.is_dir():
        curves, problems = read_curves(source, rows)
    else:
        curves, problems = load_curves(companion_path(source, CURVES))
    kept, contradicting = consistent(curves, rows)
    keys = {(row["study"], row["fingerprint"], row["seed"]) for row in rows if row["status"] == "ok"}
    return [c for c in kept if (c.study, c.fingerprint, c.seed) in keys], [*problems, *contradicting]


def curve_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Curves as one long frame: a row per point, points of training before those of validation."""
    parts = []
    for curve in curves:
        tokens_per_step = curve.train_tokens[-1] / curve.train_steps[-1] if curve.train_steps else float("nan")
        train = {
            "part": "train",
            "step": curve.train_steps,
            "tokens": curve.train_tokens,
            "bpb": curve.train_bpb,
            "nats": curve.train_nats,
            "lr_scale": curve.train_lr_scale or float("nan"),
        }
        val = {
            "part": "val",
            "step": curve.val_steps,
            "tokens": [round(step * tokens_per_step) if curve.train_steps else None for step in curve.val_steps],
            "bpb": curve.val_bpb_live,
            "nats": float("nan"),
            "lr_scale": float("nan"),
        }
        for part in (train, val):
            names = {"study": curve.study, "arm": curve.arm, "seed": curve.seed, "fingerprint": curve.fingerprint}
            parts.append(pd.DataFrame({**names, **part}).astype({"tokens": "Int64"}))
    identity = [field.name for field in fields(Curve)][:4]
    if not parts:
        return pd.DataFrame(columns=[*identity, "part", "step", "tokens", "bpb", "nats", "lr_scale"])
    return pd.concat(parts, ignore_index=True)


def load(source: Source) -> Results:
    """The runs of a study's folder, of a folder of studies, of a run folder, or of a results .jsonl file.

    Returns a DataFrame with one row per run, failed and missing ones included. It has one column per field of a record
    (docs/record_fields.md), and `label`, the name of its arm in the tables. Whole numbers are nullable integers. Only
    rows with status `ok` have scores. A warning names what could not be read. Raises PgolfError if there is nothing to
    read.
    """
    path = Path(source)
    results = Results.of(path, collect(path))
    for note in results.notes:
        warnings.warn(note, stacklevel=2)
    return results
