"""Every run and every planned run is a row. Nothing damaged is dropped without a warning."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from made_records import STUDY, cell_folder, damage, failed, fingerprint_of, plan, put, record, study_of
from pgolf.errors import PgolfError
from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from pgolf.records.rows import collect, frame, row_lines, shared, write_out

SCORES = {"tied": [2.0, 2.1], "mos": [1.9, 2.05]}


def found(folder: Path) -> dict[tuple[str, int], str]:
    return {(row["arm"], row["seed"]): row["status"] for row in collect(folder).rows}


def test_rows_are_in_plan_order_whatever_folder_is_given(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    order = [("tied", 1), ("mos", 1), ("tied", 2), ("mos", 2)]
    assert list(found(study)) == list(found(tmp_path)) == order
    assert [row["planned"] for row in collect(study).rows] == [[[arm, 0, at]] for at, (arm, _) in enumerate(order)]
    one = collect(study / cell_folder("mos", 2)).rows
    assert [(row["arm"], row["seed"], row["planned"]) for row in one] == [("mos", 2, None)]


def test_a_file_of_rows_reads_as_it_was_written(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, failed("mos", 3))
    result = collect(study)
    write_out(tmp_path / "rows.jsonl", row_lines(result.rows))
    again = collect(tmp_path / "rows.jsonl")
    assert again.rows == result.rows
    assert again.warnings == []
    assert {row["schema_version"] for row in again.rows} == {1}


def test_missing_failed_damaged_and_foreign_cells_are_rows(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0, 2.1, 2.2, 2.3, 2.4]})
    plan(study, ["tied"], range(1, 8))
    put(study, failed("tied", 2))
    damage(study / cell_folder("tied", 3) / "result.json")
    put(study, record("tied", 1, 2.0), folder=cell_folder("tied", 4))
    put(study, record("mos", 5, 2.0), folder=cell_folder("tied", 5))
    (study / cell_folder("tied", 6)).mkdir()
    (study / cell_folder("tied", 6) / "metrics.jsonl").write_text("")
    rows = {row["seed"]: row for row in collect(study).rows}
    assert [rows[seed]["status"] for seed in range(1, 8)] == [
        "ok",
        "failed",
        "damaged",
        "foreign",
        "foreign",
        "missing",
        "missing",
    ]
    assert "seed3" in rows[3]["error"]
    assert "is of seed 1, its folder of seed 4" in rows[4]["error"]
    assert "is of configuration" in rows[5]["error"]
    assert rows[6]["error"] == "started, but has no record"
    assert rows[7]["error"] == "not started"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": 5}, "arm is not a name"),
        ({"fingerprint": None}, "fingerprint is not a name"),
        ({"seed": "1"}, "seed is not a whole number of 0 or more"),
        ({"seed": True}, "seed is not a whole number of 0 or more"),
        ({"val_bpb": "1.2"}, "val_bpb is not a number"),
        ({"val_bpb": 10**400}, "val_bpb is not a number"),
        ({"eval_mode": None}, "eval_mode is missing"),
        ({"val_text_sha": None}, "val_text_sha is missing"),
        ({"val_text_sha": 7}, "val_text_sha is not a text (7)"),
        *(
            ({key: None}, f"{key} is missing")
            for key in ("val_bytes", "val_targets", "steps", "data_sha", "code_files", "overrides")
        ),
        ({"total_bytes": float("inf")}, "it holds Infinity"),
        ({"total_bytes": -1}, "total_bytes is not a whole number of 0 or more (-1)"),
        ({"params.total": [1]}, "params.total is not a whole number"),
        ({"val_bytes": [1]}, "val_bytes is not a whole number"),
        ({"warnings": 3}, "warnings is not a list of texts (3)"),
        ({"code_files": 7}, "code_files is not a list of texts"),
        ({"under_cap": 1}, "under_cap is not true or false (1)"),
        ({"study": "another"}, "is of study another"),
    ],
)
def test_what_is_no_record_of_ours(change: dict[str, object], message: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0]})
    path = study / cell_folder("tied", 1) / "result.json"
    path.write_text(json.dumps({"schema_version": 1, **record("tied", 1, 2.0), **change}))
    (row,) = collect(study).rows
    assert row["status"] == ("foreign" if message.startswith("is of") else "damaged")
    assert message in row["error"]
    assert str(path) in row["error"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a": 1}', "[" * 100_000, "\x00", '{"schema_version": 9, "status": "ok"}', "null"]
)
def test_what_is_no_record_at_all(content: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0]})
    (study / cell_folder("tied", 1) / "result.json").write_text(content)
    (row,) = collect(study).rows
    assert (row["status"], row["arm"], row["seed"]) == ("damaged", "tied", 1)


def test_a_folder_called_result_json(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0, 2.1]})
    (study / cell_folder("tied", 1) / "result.json").unlink()
    (study / cell_folder("tied", 1) / "result.json").mkdir()
    assert found(study) == {("tied", 1): "damaged", ("tied", 2): "ok"}


def test_earlier_and_hidden_folders_are_not_read(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0]})
    put(study, record("tied", 1, 9.0), folder=f"{cell_folder('tied', 1)}/earlier-1")
    put(study, record("tied", 2, 9.0), folder="earlier-1/seed2-00000000")
    put(study, record("tied", 3, 9.0), folder=f".trash/{cell_folder('tied', 3)}")
    assert found(study) == {("tied", 1): "ok"}


def test_runs_that_no_sweep_plans(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0]})
    put(study, record("old", 1, 3.0))
    (study / cell_folder("never", 1)).mkdir(parents=True)
    (study / cell_folder("never", 1) / "config.yaml").write_text("")
    result = collect(study)
    assert [(row["arm"], row["planned"]) for row in result.rows] == [("tied", [["tied", 0, 0]]), ("old", [])]
    assert [w for w in result.warnings if cell_folder("never", 1) in w and "left out" in w]


def test_one_run_under_two_names_is_one_row(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0]})
    cell = PlannedRun(STUDY, "default", 1, fingerprint_of("tied"), cell_folder("tied", 1))
    add_to_plan(study, Sweep(("other",), 1.0, "c0de", False, (cell,)))
    (row,) = collect(study).rows
    assert row["planned"] == [["tied", 0, 0], ["default", 1, 1]]


@pytest.mark.parametrize(
    "content", ["{", '{"schema_version": 1, "sweeps": 5}', "[]", '{"schema_version": 7, "sweeps": []}']
)
def test_a_damaged_plan_is_a_warning(content: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    (study / "sweep.json").write_text(content)
    result = collect(study)
    assert len(result.rows) == 4
    assert any("sweep.json" in w and "cannot be detected" in w for w in result.warnings)
    assert {row["planned"] for row in result.rows if row["planned"] is None} == {None}


def test_a_plan_of_the_wrong_types_is_a_warning(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    text = (study / "sweep.json").read_text().replace('"seed": 1', '"seed": "one"')
    (study / "sweep.json").write_text(text)
    assert any("sweep.json" in w for w in collect(study).warnings)


def test_damaged_lines_of_a_file_are_named(tmp_path: Path) -> None:
    write_out(tmp_path / "rows.jsonl", row_lines(collect(study_of(tmp_path, SCORES)).rows))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"schema_version": 1}\n\n5\n{"row_version": 1, "schema_version": 1, "status": "ok", "arm": ')
    result = collect(tmp_path / "rows.jsonl")
    assert len(result.rows) == 4
    assert [w.split("line ")[1].split(":")[0] for w in result.warnings] == ["5", "7", "8"]


@pytest.mark.parametrize(
    ("make", "message"),
    [("gone", "is not a directory"), ("empty", "has neither runs nor a plan"), ("x.json", "is neither a folder")],
)
def test_nothing_to_read(make: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(PgolfError, match=message):
        collect(tmp_path / make)


def test_a_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(PgolfError, match="has no row"):
        collect(tmp_path / "rows.jsonl")


def test_non_finite_numbers_become_null() -> None:
    (line,) = row_lines([{"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": 2}}])
    assert json.loads(line) == {"a": None, "b": [None, 1.0], "c": {"d": 2}}


def test_a_file_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PgolfError, match="--out"):
        write_out(tmp_path / "file" / "rows.jsonl", ["x"])


def test_a_frame_keeps_names_as_text(tmp_path: Path) -> None:
    rows = collect(study_of(tmp_path, SCORES, fingerprint="0123456789012345")).rows
    result = frame(rows)
    assert result["fingerprint"].tolist() == [row["fingerprint"] for row in rows]
    assert result.groupby("arm")["val_bpb"].mean()["tied"] == pytest.approx(2.05)


def test_the_commands_import_neither_torch_nor_hydra() -> None:
    code = "import sys, pgolf.aggregate, pgolf.compare; assert not {'torch', 'hydra', 'omegaconf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_share_what_is_equal() -> None:
    known: dict[Any, Any] = {}
    text = json.dumps({"arm": "head=mos", "code_files": ["a.py", "b.py"], "seed": 1, "note": None, "scores": [1, 2]})
    first, second = (shared(json.loads(text), known) for _ in range(2))
    assert first == second == json.loads(text)
    for key in ("arm", "code_files"):
        assert first[key] is second[key]
    assert next(iter(first)) is next(iter(second)), "keys too"
