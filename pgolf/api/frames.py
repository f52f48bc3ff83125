"""Rows of runs as a frame with typed columns, and back to the rows that the tables are made from."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pgolf.errors import PgolfError
from pgolf.records.fields import FIELDS, POSITION, field_of
from pgolf.records.kinds import AMOUNT, COUNT, FINITE, FLAG, NUMBER, SEED
from pgolf.records.rows import Row
from pgolf.records.validation import NULLABLE, checked_row, row_problem, value_text

# The first columns; the others follow in the order of the table of fields.
LEADING = ("study", "arm", "seed", "status", "val_bpb", "val_bpb_live", "total_bytes", "steps", "train_s")
LABEL = "label"  # a column that is not a field of a record
CATEGORIES = ("study", "arm", "status", "eval_mode", "device", "precision", "compile")
CHOICES = "choices."
LARGEST = 2**63  # whole numbers from here on are unsigned


class FrameWithMore(pd.DataFrame):
    """A frame with something beside it. Every operation of pandas, and a pickle, gives a plain DataFrame of the rows.

    A subclass lists its own attributes in `_internal_names`: pandas keeps those out of the columns.
    """

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __reduce__(self) -> Any:
        return pd.DataFrame(self).__reduce__()


def typed_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One row per run and one column per field. A field that a run lacks is missing, like one that is null."""
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: column(key, [row.get(key) for row in rows]) for key in in_order(keys)}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys in the order of the columns. Keys that the table of fields does not have come last."""

    def position(key: str) -> tuple[int, int]:
        if key in LEADING:
            return 0, LEADING.index(key)
        field = field_of(key)
        return (2, 0) if field is None else (1, POSITION[field.name])

    return sorted(keys, key=position)


def column(key: str, values: Sequence[Any]) -> pd.Series:
    """The values of one field as a series; its type is that of the field, or of the values for an option's value."""
    field = field_of(key)
    kind = None if field is None else field.kind
    if kind in (COUNT, SEED):
        return whole_numbers(values)
    if kind in (AMOUNT, NUMBER, FINITE):
        return pd.Series([math.nan if value is None else float(value) for value in values], dtype="float64")
    if kind is FLAG:
        return pd.Series(values, dtype="boolean")
    present = [value for value in values if value is not None]
    if (key in CATEGORIES or key.startswith(CHOICES)) and all(isinstance(value, str) for value in present):
        return pd.Series(pd.Categorical(values, categories=list(dict.fromkeys(present))))
    return inferred(values, present) if key not in FIELDS else texts(values, present)


def whole_numbers(values: Sequence[Any]) -> pd.Series:
    """Whole numbers, which may be missing."""
    numbers = [None if value is None else int(value) for value in values]
    is_large = any(number is not None and number >= LARGEST for number in numbers)
    return pd.Series(numbers, dtype="UInt64" if is_large else "Int64")


def texts(values: Sequence[Any], present: Sequence[Any]) -> pd.Series:
    """Texts in the type that this pandas has for text; lists of texts as objects."""
    is_text = bool(present) and all(isinstance(value, str) for value in present)
    return pd.Series(values) if is_text else pd.Series(values, dtype="object")


def inferred(values: Sequence[Any], present: Sequence[Any]) -> pd.Series:
    """The values of an option. Values of several kinds, such as 3 and auto, stay objects."""
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int} and all(abs(value) < LARGEST for value in present):
        return pd.Series(values, dtype="Int64")
    if kinds and kinds <= {int, float}:
        return pd.Series([math.nan if value is None else float(value) for value in values], dtype="float64")
    return texts(values, present)


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame that `typed_frame` made, also after rows were selected or joined.

    Raises PgolfError for a row that no run and no selection of rows gives: a needed column is absent, or a value was
    changed so that the record contradicts itself.
    """
    frame = frame.drop(columns=LABEL, errors="ignore")
    keys = [str(key) for key in frame.columns]
    rows = []
    for label, values in zip(frame.index, frame.astype(object).itertuples(index=False, name=None), strict=True):
        row = {key: plain(value) for key, value in zip(keys, values, strict=True) if not is_missing(value)}
        row.setdefault("planned", None)
        if row.get("status") == "ok":
            row = {**dict.fromkeys(NULLABLE), **row}
        elif "seed" in keys:
            row.setdefault("seed", None)
        problem = row_problem(row)
        if problem is None and (checked := checked_row(row)) is not row:
            problem = str(checked["error"])
        if problem is not None:
            raise PgolfError(
                f"row {value_text(label)}: {problem}. Give rows of pgolf.load with all their columns, selected but "
                "not changed"
            )
        rows.append(row)
    return rows


def is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def plain(value: Any) -> Any:
    """A value without the types of numpy."""
    return value.item() if isinstance(value, np.generic) else value
