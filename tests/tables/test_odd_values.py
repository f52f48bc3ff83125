"""A value of another kind in any field of a row: never a traceback, never a number that it does not bear out."""

import json
from pathlib import Path
from typing import Any

import pytest

from pgolf.pages.aggregation import aggregate
from pgolf.pages.figures.gallery import gallery
from pgolf.pages.formats import csv_text, latex, markdown
from pgolf.pages.html.document import document
from pgolf.records.fields import field_of

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"
Row = dict[str, Any]
ROWS: list[Row] = [
    json.loads(line) for line in (RESULTS / "higher_rank_heads.jsonl").read_text(encoding="utf-8").splitlines()
]
FIRST = ROWS[0]
ODD: dict[str, Any] = {
    "a list": [1],
    "a mapping": {"a": [1]},
    "a list of lists": [["a"], [None]],
    "a text": "no number",
    "an empty text": "",
    "a path": "../../etc/passwd",
    "null": None,
    "true": True,
    "negative": -1,
    "half": 0.5,
    "1e308": 1e308,
    "1e400": 10**400,
    "an empty list": [],
}


def everything(rows: list[Row], folder: Path, *, with_pictures: bool = False) -> Any:
    """Rows from a file through tables, every format and the report page, as the commands do it."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = aggregate(path)
    sections = made.sections()
    for text in (
        markdown(sections),
        latex(sections),
        csv_text(made.report),
        document(made, gallery(made) if with_pictures else []),
    ):
        text.encode()
    return made


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_any_field_may_hold_anything(value: Any, tmp_path: Path) -> None:
    """Each field of a real row in turn, in an arm of its own."""
    prints = [f"{number:016x}" for number in range(len(FIRST))]
    rows = [
        {**FIRST, "folder": f"{n}", "fingerprint": mark, key: value}
        for n, (key, mark) in enumerate(zip(FIRST, prints, strict=True))
    ]
    made = everything(rows, tmp_path)
    told = {row["fingerprint"]: row for row in made.collected.rows if isinstance(row["fingerprint"], str)}
    counted = {
        mark
        for t in made.report.families
        for row in t.rows
        if row.mean_bpb is not None
        for mark in [row.group.fingerprint]
    }
    for key, mark in zip(FIRST, prints, strict=True):
        field = field_of(key)
        if key == "fingerprint" or field is None or value is None or mark not in told:
            continue
        assert field.kind.fits(value) or (
            told[mark]["status"] == "damaged" and key in told[mark]["error"] and mark not in counted
        ), key


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_study_with_odd_rows_is_still_shown(value: Any, tmp_path: Path) -> None:
    """Each row of a real study with another odd field."""
    for suffix in ("study.json", "curves.jsonl"):
        (tmp_path / f"rows.{suffix}").write_bytes((RESULTS / f"higher_rank_heads.{suffix}").read_bytes())
    keys = [key for key in FIRST if not key.startswith(("config.", "schema", "row_"))]
    rows = [{**row, keys[n % len(keys)]: value} if n % 3 == 2 else row for n, row in enumerate(ROWS)]
    assert everything(rows, tmp_path, with_pictures=value == [1]).report.families
