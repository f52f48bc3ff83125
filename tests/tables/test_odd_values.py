"""A value of the wrong kind in any field of a row: no traceback, and the row does not count."""

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
    """Read rows from a file and make the tables, all formats and the report page, as the commands do."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = aggregate(path)
    sections = result.sections
    for text in (
        markdown(sections),
        latex(sections),
        csv_text(result.report),
        document(result, gallery(result) if with_pictures else []),
    ):
        text.encode()
    return result


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_any_field_may_hold_anything(value: Any, tmp_path: Path) -> None:
    """Each field of a real row in turn, in an arm of its own."""
    prints = [f"{number:016x}" for number in range(len(FIRST))]
    rows = [
        {**FIRST, "folder": f"{n}", "fingerprint": mark, key: value}
        for n, (key, mark) in enumerate(zip(FIRST, prints, strict=True))
    ]
    result = everything(rows, tmp_path)
    by_mark = {row["fingerprint"]: row for row in result.collected.rows if isinstance(row["fingerprint"], str)}
    counted = {
        mark
        for t in result.report.families
        for row in t.rows
        if row.mean_bpb is not None
        for mark in [row.group.fingerprint]
    }
    for key, mark in zip(FIRST, prints, strict=True):
        field = field_of(key)
        if key == "fingerprint" or field is None or value is None or mark not in by_mark:
            continue
        assert field.kind.fits(value) or (
            by_mark[mark]["status"] == "damaged" and key in by_mark[mark]["error"] and mark not in counted
        ), key


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_study_with_odd_rows_is_still_shown(value: Any, tmp_path: Path) -> None:
    """Each third row of a real study has an odd field."""
    for suffix in ("study.json", "curves.jsonl"):
        (tmp_path / f"rows.{suffix}").write_bytes((RESULTS / f"higher_rank_heads.{suffix}").read_bytes())
    keys = [key for key in FIRST if not key.startswith(("config.", "schema", "row_"))]
    rows = [{**row, keys[n % len(keys)]: value} if n % 3 == 2 else row for n, row in enumerate(ROWS)]
    assert everything(rows, tmp_path, with_pictures=value == [1]).report.families
