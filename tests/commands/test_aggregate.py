"""The command: its four files, its messages and exit codes, and the files that it never overwrites."""

import csv
import shutil
import sys
from pathlib import Path

import pytest

from made_records import cell_folder, describe, failed, plan, put, read_lines, record, study_of
from pgolf import aggregate

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91]}
FILES = ("results.jsonl", "table.md", "table.csv", "table.tex")


def run(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", ["pgolf.aggregate", *map(str, argv)])
    return aggregate.main()


def test_four_files_and_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, SCORES)
    assert run(monkeypatch, study, "--smallest-effect-bpb", "0.01", "--all") == 0
    whole = capsys.readouterr().out
    for part in ("Scores of single seeds", "-0.1000 [", "Noise of seeds within an arm", "details", "written:"):
        assert part in whole
    assert "threshold" not in whole, "it is for runs of a published study"
    assert all((study / name).stat().st_size for name in FILES)
    assert [row["status"] for row in read_lines(study / "results.jsonl")] == ["ok"] * 6
    assert not list(study.glob(".*.[0-9]*")), "no half-written file stays"
    before = {name: (study / name).read_bytes() for name in FILES}
    assert run(monkeypatch, study, "--smallest-effect-bpb", "0.01") == 0
    assert before == {name: (study / name).read_bytes() for name in FILES}, "the same again"


def test_the_main_tables_are_printed_and_the_answer_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, study_of(tmp_path, SCORES)) == 0
    message = capsys.readouterr().out
    assert "Noise of seeds within an arm" in message
    assert "Scores of single seeds" not in message
    assert "further tables; --all prints them" in message
    answer = message.rpartition("Answer")[2]
    assert "against tied: -0." in answer
    assert "better." in answer


def test_a_folder_of_studies_is_said_to_hold_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, SCORES)
    put(tmp_path / "depths", record("deep", 1, 1.0, study="depths"))
    assert run(monkeypatch, study) == 0
    assert "one set of tables" not in capsys.readouterr().out
    assert run(monkeypatch, tmp_path, "--quiet") == 0
    assert (
        f"{tmp_path}: 7 runs of 2 studies are in one set of tables (depths, heads); python -m pgolf.aggregate "
        f"{tmp_path}/depths makes those of one\nwritten: {tmp_path}/results.jsonl, "
    ) in capsys.readouterr().out


def test_a_file_of_rows_gives_the_same_tables_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path, SCORES)
    plan(study, list(SCORES), range(1, 5))
    assert run(monkeypatch, study) == 0
    rows = study / "results.jsonl"
    with rows.open("a") as file:
        file.write('{"cut": ')
    before = rows.read_bytes()
    assert run(monkeypatch, rows, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "table.csv").read_text() == (study / "table.csv").read_text()
    assert run(monkeypatch, rows) == 0
    assert rows.read_bytes() == before, "the input is never written"
    assert "line 9" in (study / "table.md").read_text()


def test_a_richer_file_of_rows_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("extra", 1, 1.0))
    assert run(monkeypatch, study) == 0
    richer = (study / "results.jsonl").read_bytes()
    (study / cell_folder("extra", 1) / "result.json").unlink()
    assert run(monkeypatch, study) == 0
    assert (study / "results-earlier-1.jsonl").read_bytes() == richer
    assert "archived as results-earlier-1.jsonl" in capsys.readouterr().out.replace("\n", " ")
    assert len(read_lines(study / "results.jsonl")) == 6


def test_rows_of_other_runs_are_kept_however_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is archived for a lost run, a lost score or an unreadable line, whatever the number of rows."""
    study = study_of(tmp_path, SCORES)
    plan(study, list(SCORES), range(1, 4))
    rows = study / "results.jsonl"
    assert run(monkeypatch, study) == 0
    assert run(monkeypatch, study) == 0
    assert not list(study.glob("*-earlier-*")), "the same runs again"
    before = rows.read_bytes()
    (study / cell_folder("mos", 1) / "result.json").unlink()
    assert run(monkeypatch, study) == 0, "as many rows, one of them now missing"
    assert (study / "results-earlier-1.jsonl").read_bytes() == before
    put(study, record("mos", 1, 1.9))
    assert run(monkeypatch, study) == 0
    assert len(list(study.glob("*-earlier-*"))) == 1, "a run more loses nothing"
    rows.write_text('{"cut')
    assert run(monkeypatch, study) == 0
    assert (study / "results-earlier-2.jsonl").read_text() == '{"cut'


def test_another_studys_tables_are_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads, others, kept = (
        study_of(tmp_path / "runs", SCORES),
        tmp_path / "runs" / "others",
        tmp_path / "kept" / "heads.jsonl",
    )
    shutil.copytree(heads, others)
    for folder in (heads, others):
        describe(folder, {"heads": tuple(SCORES)})
    assert run(monkeypatch, heads, "--out", kept) == 0
    before = {path.name: path.read_bytes() for path in kept.parent.iterdir()}
    assert "heads.study.json" in before
    assert run(monkeypatch, others, "--out", kept) == 2
    message = capsys.readouterr().err
    assert (
        f"{kept.with_name('heads.study.json')}: belongs to the tables of study heads. Choose another place with --out"
        in message
    )
    assert {path.name: path.read_bytes() for path in kept.parent.iterdir()} == before


def test_rows_under_a_name_have_their_tables_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, kept = study_of(tmp_path / "multirun", SCORES), tmp_path / "kept"
    kept.mkdir()
    assert run(monkeypatch, study, "--out", kept / "heads.jsonl") == 0
    names = {"heads.jsonl", "heads.table.md", "heads.table.csv", "heads.table.tex"}
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert set(before) == names
    shutil.rmtree(study)
    assert run(monkeypatch, kept / "heads.jsonl") == 0
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before, (
        "the rows alone give the same tables, beside them"
    )


def test_several_studies_have_a_table_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study_of(tmp_path / "multirun", SCORES)
    other = tmp_path / "multirun" / "adhoc"
    put(other, record("x", 1, 3.0, study="adhoc"))
    assert run(monkeypatch, tmp_path / "multirun", "--baseline", "mos") == 0
    with (tmp_path / "multirun" / "table.csv").open() as file:
        found = {(line["study"], line["arm"]): line["baseline"] for line in csv.DictReader(file)}
    assert found == {("heads", "tied"): "mos", ("heads", "mos"): "", ("adhoc", "x"): ""}


def test_only_failures_still_make_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "heads"
    plan(study, ["tied", "mos"], [1, 2])
    put(study, failed("tied", 1))
    assert run(monkeypatch, study) == 0
    text = (study / "table.md").read_text()
    assert "4 of 4 planned runs have no ok record" in text
    assert "tied fell over" in text


def test_quiet_prints_warnings_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, study_of(tmp_path, SCORES), "--quiet") == 0
    assert "Noise" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], ["nowhere: is not a directory", "multirun/STUDY"]),
        (["empty"], ["has neither runs nor a plan"]),
        (["heads", "--baseline", "tide"], ["--baseline: no such arm (tide)", "Did you mean tied?"]),
        (["heads", "--out", "file"], ["file/results.jsonl: cannot be written", "--out"]),
    ],
)
def test_a_mistake_is_named(
    argv: list[str],
    message: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study_of(tmp_path, SCORES)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *argv) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    for part in message:
        assert part in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--smallest-effect-bpb", "0"], "must be above 0 (0)"),
        (["--smallest-effect-bpb", "nan"], "must be finite"),
        (["--threshold-p", "2"], "between 0 and 1"),
        (["--threshold-nats", "x"], "needs a number (x)"),
        (["--bas", "tied"], "--bas tied: no such option. Did you mean --baseline?"),
    ],
)
def test_a_value_that_cannot_be(
    argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "somewhere", *argv) == 2
    assert message in capsys.readouterr().err


def test_help_names_every_option_with_its_unit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    message = " ".join(capsys.readouterr().out.split())
    for part in ("--baseline", "--paired", "bits per byte", "nats per token", "from 0 to 1", "--out", "--quiet"):
        assert part in message
