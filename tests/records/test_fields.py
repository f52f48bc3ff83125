"""The table of record fields against records that real runs wrote, and against what is made from it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from audits_here import audit_here
from pgolf import train
from pgolf.pages.html.runs import SECTIONS
from pgolf.records.fields import FIELDS, PATTERNS, RERUN_COMPARED, RERUN_EXPLAINS, TABLE, Needed, field_of
from pgolf.records.kinds import ANY
from pgolf.records.reference import reference
from pgolf.records.rows import collect
from pgolf.records.validation import record_problem
from run_folders import records

ROOT = Path(__file__).resolve().parents[2]
Record = dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """A folder with a finished run, two from its weights with the estimate of pull request 908 and with test-time
    training, and a failed run.
    """
    root = tmp_path_factory.mktemp("fields")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        audit_here(patch)

        def run(*argv: str) -> int:
            patch.setattr(sys, "argv", ["pgolf.train", *argv])
            return train.main()

        assert run(*tiny, "launch.keep_weights=true", "launch.audit=true") == 0
        ((folder, _),) = records(root)
        cache = next(text for text in tiny if text.startswith("paths.cache="))
        assert run(f"train.from={folder}", "eval=plain_and_908", "eval.stride=8", cache) == 0
        assert run(f"train.from={folder}", "eval=ttt_lora", "eval.chunk=16", "eval.max_targets=300", cache) == 0
        absurd = ["optim.roles.scalar.lr=1e30", "optim.roles.matrix.lr=1e30", "optim/schedule=constant"]
        assert run(*tiny, "seed=2", *absurd) == 1
    return root / "multirun" / "adhoc"


@pytest.fixture(scope="module")
def written(study: Path) -> list[Record]:
    """The records, as rows."""
    rows = collect(study).rows
    assert sorted(row["status"] == "ok" for row in rows) == [False, True, True, True], [row["error"] for row in rows]
    return rows


def test_every_field_that_a_run_writes_is_in_the_table(written: list[Record]) -> None:
    assert sorted({key for row in written for key in row if field_of(key) is None}) == []
    assert [record_problem(row) for row in written] == [None] * 4


def test_every_field_of_the_table_is_written_by_a_run(written: list[Record]) -> None:
    keys = set().union(*written)
    assert sorted(name for name in FIELDS if name not in keys and name.removesuffix("*") not in PATTERNS) == []
    patterns = {field.name for key in keys if (field := field_of(key)) is not None}
    assert set(FIELDS) == patterns, "each pattern stands for at least one field"


def test_needed_fields_stand_in_every_record_that_needs_them(written: list[Record]) -> None:
    for row in written:
        for name, field in FIELDS.items():
            if field.needed in (Needed.ALWAYS, Needed.ROW) or (
                row["status"] == "ok" and field.needed in (Needed.SCORED, Needed.TRAINED, Needed.NULLABLE)
            ):
                assert name in row, name


def test_a_row_of_an_older_version_may_have_fields_that_are_not_in_the_table(written: list[Record]) -> None:
    assert record_problem({**written[0], "hostname": 5, "a_new_sha": []}) is None


def test_names_and_positions_are_unique() -> None:
    names = [field.name for fields in TABLE.values() for field in fields]
    assert len(set(names)) == len(names)
    assert all(field.meaning for field in FIELDS.values())
    assert [name for name, field in FIELDS.items() if field.kind is ANY] == ["config.*"]
    assert {field.report for field in FIELDS.values()} == {*SECTIONS, ""}


def test_a_repeated_run_is_compared_by_the_fields_of_the_table() -> None:
    assert {"val_bpb", "val_nats", "model_bytes", "steps"} <= set(RERUN_COMPARED)
    assert {"code_sha", "data_sha", "threads"} <= set(RERUN_EXPLAINS)


def test_the_committed_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "record_fields.md").read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("path", sorted((ROOT / "analysis" / "results").glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_field_of_a_committed_row_is_known_and_valid(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "row_version" in row]
    assert {key for row in rows for key in row if field_of(key) is None} == set()
    assert [problem for row in rows if (problem := record_problem(row))] == []
