"""The page in four formats: the place of each part, and names that could break a format."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from made_records import STUDY, failed, plan, put, record, report_of, study_of
from pgolf.pages.formats import csv_text, latex, latex_text, markdown, show
from pgolf.pages.sections import page
from pgolf.tables.text import Grid, Section, SectionKind

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91], "low": [2.02, 2.00, 2.01]}


def test_markdown_is_this(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91]})
    plan(study, ["tied", "mos"], range(1, 5))
    put(study, failed("mos", 4))
    assert (
        markdown(page(report_of(study, smallest_effect_bpb=0.01)))
        == (Path(__file__).parent / "expected_table.md").read_text()
    )


def test_warnings_come_first(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, failed("mos", 1))
    result = page(report_of(study))
    assert result[0].kind is SectionKind.WARNINGS
    assert result[0].heading == "Warnings"
    assert "1 of 9 planned runs have no ok record" in result[0].lines
    assert page(report_of(study_of(tmp_path / "b", SCORES)))[0].kind is SectionKind.FAMILY, "no empty section"


def test_scores_of_two_modes_have_two_columns(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": SCORES["tied"]})
    for seed, bpb in enumerate(SCORES["mos"], 1):
        put(study, record("mos", seed, bpb, eval_mode="sliding"))
    grid = page(report_of(study))[1].grid
    assert grid is not None
    assert grid.columns[2:4] == ("mean bpb plain64 (sd)", "mean bpb sliding (sd)")
    assert [row[2:5] for row in grid.rows] == [("2.0133 (0.0153)", "", "baseline"), ("", "1.9133 (0.0153)", "none")]
    assert [row[7] for row in grid.rows] == ["3.0702", ""], "nats of another mode neither"
    lines = list(csv.DictReader(io.StringIO(csv_text(report_of(study)))))
    assert [(line["mean_bpb_plain64"] != "", line["mean_bpb_sliding"] != "") for line in lines] == [
        (True, False),
        (False, True),
    ]
    assert "another evaluation mode" in lines[1]["refused"]


def test_another_tokenizer_leaves_nats_blank(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": SCORES["tied"]})
    for seed, bpb in enumerate(SCORES["mos"], 1):
        put(study, record("mos", seed, bpb, val_targets=4000))
    table = page(report_of(study))[1].grid
    assert table is not None
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert row["nats/token"] == ""
    assert row["difference, bpb [95%]"].startswith("-0.1000 [")
    assert "another tokenizer: nats not compared" in row["notes"]


def test_bytes_over_the_cap_are_told(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("mos", 1, 1.9, total_bytes=17_000_000, under_cap=False))
    assert "OVER in 1 of 3" in markdown(page(report_of(study)))


def test_csv_has_the_numbers_unrounded(tmp_path: Path) -> None:
    report = report_of(study_of(tmp_path, SCORES))
    lines = list(csv.DictReader(io.StringIO(csv_text(report))))
    for line, row in zip(lines, report.families[0].rows, strict=True):
        assert float(line["mean_bpb"]) == row.mean_bpb
        assert line["config.model.head.name"] == row.label
        if row.comparison is not None and row.comparison.test is not None:
            assert float(line["p"]) == row.comparison.test.p
            assert float(line["high_bpb"]) == row.comparison.test.high
        else:
            assert line["p"] == line["holm_p"] == ""


def test_extra_columns_have_room(tmp_path: Path) -> None:
    from dataclasses import replace

    report = report_of(study_of(tmp_path, SCORES))
    rows = tuple(replace(row, extra={"published": "1.17", "verdict": "holds"}) for row in report.families[0].rows)
    grid = page(replace(report, families=(replace(report.families[0], rows=rows),)))[0].grid
    assert grid is not None
    at = grid.columns.index("published")
    assert grid.columns[at - 1 : at + 2] == ("Holm p", "published", "verdict"), (
        "beside the differences, in sight on a narrow page"
    )
    assert grid.rows[0][at : at + 2] == ("1.17", "holds")


NASTY = [
    "a|b",
    "50% & more",
    r"\input{x}",
    "x_1^2~",
    "[ref]",
    "<b>",
    "a\nb\r\tc",
    '"q"',
    "$x$",
    "{",
    "}",
    "#1",
    "\x1b[31mred",
    "ä ö",
    "\ud800",
    "[red]x",
]


@pytest.mark.parametrize("name", NASTY)
def test_names_break_no_format(name: str, tmp_path: Path) -> None:
    study = tmp_path / STUDY
    put(study, record("plain", 1, 2.0), folder="a/1")
    put(study, record(name, 1, 2.1, fingerprint="f" * 16, warnings=[name]), folder="b/1")
    report = report_of(study)
    result = page(report)
    grids = [line for line in markdown(result).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in grids[:4]}) == 1
    check_latex(latex(result))
    assert len(list(csv.DictReader(io.StringIO(csv_text(report))))) == 2
    out = io.StringIO()
    show(result, Console(file=out, width=200))
    assert "\x1b[31m" not in out.getvalue()
    out.getvalue().encode()


def check_latex(text: str) -> None:
    """Groups close, environments nest, rows have as many cells as columns, and special characters are escaped."""
    bare = re.sub(r"\\[\\&%$#_{}]", "", "\n".join(line for line in text.splitlines() if not line.startswith("%")))
    depth = 0
    for c in bare:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"[%#~^<>|\"]", bare)
    assert bare.count("$") == 2 * bare.count("$-$")
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    for columns, body in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        count = len(re.sub(r"p\{[^}]*\}", "p", columns))
        for line in body.splitlines():
            assert line == r"\hline" or (line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == count - 1), (
                line
            )
            assert not line.startswith("[")


def test_latex_of_a_whole_report(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, failed("mos", 3))
    text = latex(page(report_of(study)))
    check_latex(text)
    assert "$-$0." in text


@given(text=st.text(max_size=40))
def test_latex_text_has_no_bare_special(text: str) -> None:
    result = latex_text(text)
    check_latex(result + "\n")


def test_a_narrow_terminal_loses_no_column(tmp_path: Path) -> None:
    out = io.StringIO()
    show(page(report_of(study_of(tmp_path, SCORES))), Console(file=out, width=80))
    message = out.getvalue()
    assert max(map(len, message.splitlines())) <= 80
    for part in ("mean bpb (sd)", "Holm p", "nats/token", "step, ms", "notes", "-0.1000 [-0.1346, -0.0654]"):
        assert part in message


def test_long_sections_are_cut_on_a_terminal_and_say_so() -> None:
    out = io.StringIO()
    grid = Grid(("a",), (False,), tuple((str(i),) for i in range(150)))
    show([Section(SectionKind.FURTHER, "x", tuple(f"line {i}" for i in range(30)), grid)], Console(file=out, width=80))
    assert "... and 10 more in table.md" in out.getvalue()
    assert "... and 50 more rows in table.md" in out.getvalue()
