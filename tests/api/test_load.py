"""`pgolf.load`: a frame with typed columns, usable as any frame, with the curves beside it."""

import pickle
from pathlib import Path

import pandas as pd
import pytest

import pgolf
from made_records import curved_study, failed, plan, put, read_lines, record, study_of
from pgolf.api.frames import rows_of
from pgolf.api.results import Results
from pgolf.errors import PgolfError
from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.pages.formats import csv_text
from pgolf.records.rows import Collected, collect
from pgolf.tables.table import tabulate

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curved_study(tmp_path_factory.mktemp("load"), SCORES)


def test_columns_have_types_and_what_is_absent_is_missing(tmp_path: Path) -> None:
    folder = study_of(tmp_path, {"tied": [2.0], "mos": [1.9]}, config__train__rate=0.5, config__train__flag=True)
    put(folder, failed("mos", 2))
    plan(folder, ["tied", "mos"], [1, 2])
    runs = pgolf.load(folder)
    assert list(runs.columns[:5]) == ["study", "arm", "label", "seed", "status"]
    assert [str(runs[key].dtype) for key in ("seed", "steps", "under_cap", "val_bpb", "train_s", "arm", "status")] == [
        *("Int64", "Int64", "boolean", "float64", "float64", "category", "category")
    ]
    kinds = {key: str(runs[f"config.{key}"].dtype) for key in ("model.layers", "train.rate", "train.flag")}
    assert kinds == {"model.layers": "Int64", "train.rate": "float64", "train.flag": "boolean"}
    assert str(runs["choices.model/head"].dtype) == "category"
    assert runs.status.astype(str).tolist() == ["ok", "ok", "missing", "failed"]
    scores = runs.val_bpb.isna().tolist(), runs.steps.isna().tolist()
    assert scores == ([False, False, True, True], [False, False, True, True])
    assert runs.groupby("arm", observed=True).val_bpb.mean().to_dict() == {"tied": 2.0, "mos": 1.9}, "in plan order"


def test_the_label_is_the_name_of_the_arm_in_the_tables(tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    for head in ("tied", "mos"):
        put(folder, record(f"head={head},train.steps=9", 1, 2.0))
    runs = pgolf.load(folder)
    assert list(runs.columns[:3]) == ["study", "arm", "label"]
    assert sorted(runs.label) == ["head=mos", "head=tied"]
    assert list(pgolf.compare(runs).label) == ["head=tied"], "it is not a field of a record"


def test_seeds_and_values_of_several_kinds_are_kept(tmp_path: Path) -> None:
    put(tmp_path / "a", record("tied", 2**64 - 1, 2.0, config__train__threads="auto"))
    put(tmp_path / "a", record("mos", 1, 2.0, config__train__threads=4))
    runs = pgolf.load(tmp_path / "a")
    assert sorted(runs.seed) == [1, 2**64 - 1]
    assert set(runs["config.train.threads"]) == {"auto", 4}


def test_rows_of_a_frame_give_the_same_tables(tmp_path: Path) -> None:
    folder = study_of(tmp_path, SCORES, config__train__seconds=None, config__list=[1, 2])
    put(folder, failed("mos", 4))
    plan(folder, list(SCORES), [1, 2, 3, 4])
    collected = collect(folder)
    again = Collected(rows_of(pgolf.load(folder)), [])
    assert csv_text(tabulate(again)) == csv_text(tabulate(collected))
    shuffled = rows_of(pd.concat([pgolf.load(folder).iloc[3:], pgolf.load(folder).iloc[:3]]))
    assert sorted(map(str, shuffled)) == sorted(map(str, again.rows))


def test_a_selection_is_a_plain_frame_without_the_curves_of_others(study: Path) -> None:
    runs = pgolf.load(study)
    assert isinstance(runs, Results)
    for frame in (runs[runs.seed == 1], runs.copy(), runs.sort_values("seed"), pickle.loads(pickle.dumps(runs))):
        assert type(frame) is pd.DataFrame
    assert runs.source == study
    assert runs.notes == ()


def test_curves_end_at_the_scores_of_the_runs(study: Path) -> None:
    runs = pgolf.load(study)
    curves = runs.curves
    assert curves is runs.curves, "they are read once"
    assert set(curves.part) == {"train", "val"}
    last = curves[curves.part == "val"].groupby(["arm", "seed"]).last()
    for row in runs.itertuples():
        assert last.loc[(row.arm, row.seed), "bpb"] == pytest.approx(row.val_bpb_live)
        assert last.loc[(row.arm, row.seed), "tokens"] == row.tokens
    train = curves[curves.part == "train"]
    assert (train.tokens == train.step * 4096).all()


def test_a_file_gives_the_frame_of_its_folder(study: Path, tmp_path: Path) -> None:
    write_tables(aggregate(study, with_curves=True), tmp_path)
    of_file, of_folder = pgolf.load(tmp_path / "results.jsonl"), pgolf.load(study)
    pd.testing.assert_frame_equal(pd.DataFrame(of_file), pd.DataFrame(of_folder))
    pd.testing.assert_frame_equal(of_file.curves, of_folder.curves)
    assert len(read_lines(tmp_path / "curves.jsonl")) == 6


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    folder = curved_study(tmp_path, SCORES)
    write_tables(aggregate(folder), tmp_path / "out")
    file = tmp_path / "out" / "results.jsonl"
    file.write_text(file.read_text() + "{broken\n")
    with pytest.warns(UserWarning, match=r"results.jsonl line 7: .*; left out"):
        runs = pgolf.load(file)
    assert len(runs) == 6
    assert len(runs.notes) == 1
    next(folder.rglob("metrics.jsonl")).write_text("{broken\n{}\n")
    with pytest.warns(UserWarning, match="Its curve is left out"):
        assert len(pgolf.load(folder).curves.drop_duplicates(["arm", "seed"])) == 5
    with pytest.raises(PgolfError, match=r"is not a directory\. Give a study's folder"):
        pgolf.load(tmp_path / "gone")


def test_changed_or_cut_rows_are_refused(study: Path) -> None:
    runs = pgolf.load(study)
    with pytest.raises(PgolfError, match=r"row 0: is not a row of schema 1.* with all their columns"):
        rows_of(runs[["arm", "seed", "val_bpb"]])
    with pytest.raises(PgolfError, match=r"row 0: .*val_bpb.* selected but not changed"):
        rows_of(runs.assign(val_bpb=1.0))


def test_the_names_of_the_package() -> None:
    assert {"load", "compare", "figures", "run", "open_artifact"} <= set(dir(pgolf)) & set(pgolf.__all__)
    assert pgolf.load is pgolf.__getattr__("load")
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        pgolf.laod  # noqa: B018
