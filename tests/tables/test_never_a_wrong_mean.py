"""Any mix of ok, failed, missing, duplicate, foreign and cut records: every mean is that of the good records, and every
other record has a caveat.

The expected table is computed from the files that the test wrote, not from what the code under test has read.
"""

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_records import STUDY, cell_folder, damage, failed, fingerprint_of, plan, put, record, report_of, texts
from pgolf.pages.aggregation import write_rows
from pgolf.pages.formats import csv_text, latex, markdown
from pgolf.pages.sections import page
from pgolf.records.rows import collect
from pgolf.tables.family import ArmRow
from pgolf.tables.table import Tables, tabulate

ARMS, SEEDS = ("tied", "mos", "low"), (1, 2, 3, 4)
SCORE = st.floats(0.9, 3.0, allow_nan=False)
BAD = (
    "failed",
    "diverged",
    "interrupted",
    "missing",
    "cut",
    "rubbish",
    "of another seed",
    "of another arm",
    "scoreless",
    "text for a score",
)
EVENT = st.one_of(
    st.tuples(st.just("ok"), SCORE),
    st.tuples(st.sampled_from(BAD), SCORE),
    st.tuples(
        st.sampled_from(["copied", "copied and changed", "scored otherwise", "on another text", "not planned"]), SCORE
    ),
)
CELLS = st.lists(EVENT, min_size=len(ARMS) * len(SEEDS), max_size=len(ARMS) * len(SEEDS))


def lay(study: Path, arm: str, seed: int, event: str, bpb: float) -> list[tuple[float, str, str]]:
    """Write one cell. Returns its good records as (score, mode, text)."""
    result = record(arm, seed, bpb)
    where = cell_folder(arm, seed)
    good = [(bpb, result["eval_mode"], result["val_text_sha"])]
    if event in ("failed", "diverged", "interrupted"):
        put(study, failed(arm, seed, event))
    elif event == "cut":
        damage(put(study, result))
    elif event == "rubbish":
        put(study, result).write_text(json.dumps([bpb]))
    elif event == "of another seed":
        put(study, record(arm, seed + 50, bpb), folder=where)
    elif event == "of another arm":
        put(study, record("stranger", seed, bpb), folder=where)
    elif event == "scoreless":
        put(study, record(arm, seed, None))
    elif event == "text for a score":
        put(study, result | {"val_bpb": str(bpb)})
    elif event == "copied":
        put(study, result)
        put(study, result, folder=f"{arm}/copy of {seed}")
    elif event == "copied and changed":
        put(study, result)
        put(study, record(arm, seed, bpb + 0.5), folder=f"{arm}/copy of {seed}")
        return [*good, (bpb + 0.5, *good[0][1:])]
    elif event == "scored otherwise":
        put(study, result | {"eval_mode": "sliding"})
        return [(bpb, "sliding", good[0][2])]
    elif event == "on another text":
        put(study, result | {"val_text_sha": "0" * 64})
        return [(bpb, good[0][1], "0" * 64)]
    elif event != "missing":
        put(study, result)
    return [] if event in BAD else good


def expected(good: dict[int, list[tuple[float, str, str]]]) -> tuple[int, float | None]:
    """(n, mean) of an arm: seeds whose good records agree; None as mean if they were scored in several ways."""
    kept = [found[0] for found in good.values() if len(set(found)) == 1]
    one_way = len({way for _, *way_ in kept for way in [tuple(way_)]}) == 1
    return len(kept), fmean(bpb for bpb, *_ in kept) if one_way else None


NAMED = {
    "failed": "failed",
    "diverged": "diverged",
    "interrupted": "interrupted",
    "missing": "missing",
    "cut": "damaged",
    "rubbish": "damaged",
    "of another seed": "foreign",
    "of another arm": "foreign",
    "text for a score": "damaged",
    "scoreless": "no finite score",
    "copied": "counted once",
    "copied and changed": "which disagree, left out",
}


def check(row: ArmRow, events: list[tuple[int, str]], good: dict[int, list[Any]]) -> None:
    n, mean = expected(good)
    assert row.group.n == n
    assert row.mean_bpb == (None if mean is None else pytest.approx(mean, rel=1e-12))
    for seed, event in events:
        if event in NAMED:
            assert any(NAMED[event] in m.text and str(seed) in m.text for m in row.caveats), (event, texts(row))
    assert n >= 3 or "fewer than 3" in texts(row)
    if n and mean is None:
        assert "its seeds were scored" in texts(row)
    if row.comparison is not None and row.comparison.test is not None:
        assert mean is not None


def rows(report: Tables) -> list[ArmRow]:
    return [row for table in report.families for row in table.rows]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cells=CELLS)
def test_a_mean_is_never_silently_wrong(cells: list[tuple[str, float]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / STUDY
        plan(study, ARMS, SEEDS)
        good: dict[str, dict[int, list[Any]]] = defaultdict(dict)
        events: dict[str, list[tuple[int, str]]] = defaultdict(list)
        unplanned = set()
        for (event, drawn), (arm, seed) in zip(cells, [(arm, seed) for arm in ARMS for seed in SEEDS], strict=True):
            bpb = drawn + 0.001 * seed  # no two seeds with one score, which is another case
            if event == "not planned":
                unplanned.add(seed)
                put(study, record("old", seed, bpb))
                good["old"][seed] = [(bpb, "plain64", "7e47" * 16)]
                event = "missing"
            if found := lay(study, arm, seed, event, bpb):
                good[arm][seed] = found
            events[arm].append((seed, event))
        report = report_of(study)
        by_label = {row.label: row for row in rows(report)}
        assert set(by_label) == {*ARMS, *(["old"] if unplanned else [])}
        for arm, row in by_label.items():
            if arm != "old":
                check(row, events[arm], good[arm])
        unscored = sum(event in BAD and event != "scoreless" for found in events.values() for _, event in found)
        assert (report.warnings[:1] == (f"{unscored} of 12 planned runs have no ok record",)) == (unscored > 0)
        write_rows(Path(name) / "rows.jsonl", collect(study).rows)
        again = tabulate(collect(Path(name) / "rows.jsonl"))
        for write in (csv_text, lambda r: markdown(page(r)), lambda r: latex(page(r))):
            assert write(again) == write(report)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))  # the length of the file depends on the name of the temporary folder
def test_a_file_of_rows_cut_anywhere_loses_lines_with_a_warning(share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / STUDY
        for seed in SEEDS:
            put(study, record("tied", seed, 1.0 + seed))
        path = Path(name) / "rows.jsonl"
        write_rows(path, collect(study).rows)
        content = path.read_bytes()
        first = content.index(b"\n") + 1
        cut = first + round(share * (len(content) - first))
        path.write_bytes(content[:cut])
        result = collect(path)
        whole = content[:cut].count(b"\n") + (content[cut : cut + 1] == b"\n")
        assert len(result.rows) == whole
        assert bool(result.warnings) == (
            content[:cut].rsplit(b"\n", 1)[1].strip() != b"" and content[cut : cut + 1] != b"\n"
        )
        (row,) = rows(tabulate(result))
        assert row.mean_bpb == pytest.approx(fmean(1.0 + seed for seed in SEEDS[:whole]))


def test_the_expectation_itself(tmp_path: Path) -> None:
    assert expected({1: [(1.0, "a", "b")], 2: [(2.0, "a", "b"), (3.0, "a", "b")], 3: [(5.0, "a", "b")] * 2}) == (2, 3.0)
    assert expected({1: [(1.0, "a", "b")], 2: [(2.0, "c", "b")]}) == (2, None)
    assert fingerprint_of("tied") != fingerprint_of("mos")
