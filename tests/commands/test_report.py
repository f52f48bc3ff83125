"""The report page: one file that loads nothing, escapes everything, hides no warning and no run, and is the same each
time.
"""

import base64
import hashlib
import itertools
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from made_records import STUDY, curved_study, damage, describe, failed, plan, put, record, study_of
from pgolf import report
from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.pages.figures.gallery import gallery
from pgolf.pages.html.document import document
from pgolf.pages.html.elements import sort_value, table, tag, text
from pgolf.study.description import Claim, ClaimTest
from pgolf.tables.text import Grid

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91], "low": [2.02, 2.00, 2.01]}
VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}
HOSTILE = '<img src=x onerror="alert(1)">&\'"</script><!-- $x$'


class Page(HTMLParser):
    """A parser that checks that tags are balanced and ids unique, and collects attributes and text by tag."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == [], self.stack

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.attributes += [(name, key, value or "") for key, value in attributes]
        self.ids += [value or "" for key, value in attributes if key == "id"]
        self.texts.setdefault(name, []).append("")
        if name not in VOID:
            self.stack.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(name, attributes)
        if name not in VOID:
            self.stack.pop()

    def handle_endtag(self, name: str) -> None:
        assert self.stack[-1:] == [name], f"</{name}> closes nothing, line {self.getpos()}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        for name in set(self.stack):
            self.texts[name][-1] += data


def page_of(source: Path) -> str:
    result = aggregate(source, with_curves=True)
    return document(result, gallery(result))


def whole_study(root: Path) -> Path:
    """A study with a failed run, a missing run and a run with a warning."""
    study = curved_study(root, SCORES)
    claims = (
        Claim("mos is better", "its heads were <frozen>", (ClaimTest("heads", "better", ("mos",)),)),
        Claim("fits", "cannot be tried", (ClaimTest("heads", "untestable"),)),
    )
    describe(
        study, {"heads": tuple(SCORES)}, published={"tied": {"val_bpb": 1.1}, "mos": {"val_bpb": 1.2}}, claims=claims
    )
    plan(study, list(SCORES), range(1, 5))
    put(study, failed("low", 4))
    put(study, record("mos", 4, 1.91, warnings=["the gradient was zero & <small>"]))
    return study


def run(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", ["pgolf.report", *map(str, argv)])
    return report.main()


def test_the_page_in_its_order(tmp_path: Path) -> None:
    parsed = Page(page_of(whole_study(tmp_path)))
    assert parsed.texts["h1"] == [STUDY]
    assert parsed.texts["h2"] == [
        "Warnings",
        "Published claims",
        "Table",
        "Sensitivity to the test",
        "Gap during training",
        "Published and measured gaps",
        "Score and bytes",
        "Validation curves",
        "Training curves",
        "Single seeds",
        "Study",
        "Further tables",
        "Configurations",
        "Tests in detail",
        "Runs without a score",
        "All runs",
    ]
    assert parsed.texts["h3"][:2] == ["mos is better", "fits"]
    assert parsed.tags.count("svg") == parsed.tags.count("figcaption") == 6
    assert parsed.tags.count("main") == parsed.tags.count("h1") == parsed.tags.count("nav") == 1


def test_it_is_one_whole_file_that_loads_nothing(tmp_path: Path) -> None:
    html = page_of(whole_study(tmp_path))
    parsed = Page(html)
    assert len(parsed.ids) == len(set(parsed.ids))
    for name, key, value in parsed.attributes:
        assert key not in ("src", "srcset", "action", "data", "poster", "background"), (name, key)
        assert not key.startswith("on"), (name, key)
        if key in ("href", "xlink:href"):
            assert value == "data:," or value.removeprefix("#") in parsed.ids, (name, value)
        if key in ("aria-labelledby", "aria-describedby"):
            assert value in parsed.ids
    rest = html.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", rest.split("<script>")[0])
    assert str(tmp_path) not in html, "no path of this machine"
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in html


def test_what_a_reader_without_eyes_or_mouse_needs(tmp_path: Path) -> None:
    html = page_of(whole_study(tmp_path))
    parsed = Page(html)
    assert ("html", "lang", "en") in parsed.attributes
    assert parsed.tags.index("a") < parsed.tags.index("nav"), "the skip link is the first"
    assert 'class="skip"' in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert parsed.tags.count("caption") == parsed.tags.count("table")
    assert parsed.tags.count("th") == sum(key == "scope" for name, key, _ in parsed.attributes if name == "th")
    assert html.count('class="scroll" tabindex="0" role="region" aria-label="') == parsed.tags.count("table")
    assert all(
        f'role="img" aria-labelledby="{name}-title"' in html for name in ("differences-1", "bytes-1", "published-1")
    )
    levels = [int(name[1]) for name in parsed.tags if re.fullmatch(r"h[1-4]", name)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), "no rank is skipped"
    for rule in ("prefers-color-scheme: dark", ":focus-visible", "prefers-reduced-motion", '[data-theme="dark"]'):
        assert rule in html


def test_every_warning_and_every_run_is_there(tmp_path: Path) -> None:
    study = whole_study(tmp_path)
    damage(put(study, record("low", 1, 2.0)))
    put(study, record("stray", 7, 3.0))
    result = aggregate(study, with_curves=True)
    parsed = Page(document(result, gallery(result)))
    assert len(result.report.warnings) >= 5
    assert set(result.report.warnings) <= set(parsed.texts["li"])
    html = document(result, gallery(result))
    assert html.index('href="#warnings" class="caution"') < html.index('class="answer"') + 2000, "on the first screen"
    assert html.index('id="warnings"') < html.index("<table")
    folds = parsed.texts["details"]
    for row in result.collected.rows:
        (mine,) = [fold for fold in folds if row["folder"] in fold]
        for key in ("status", "git_sha", "code_sha", "data_sha", "fingerprint"):
            assert str(row.get(key, "")) in mine, (row["folder"], key)
        for message in [*(row.get("warnings") or []), *str(row.get("error") or "").splitlines()]:
            assert message in mine
    assert {"ok", "failed", "missing", "damaged"} <= {row["status"] for row in result.collected.rows}
    assert all(sum(row["arm"] == arm for row in result.collected.rows) for arm in parsed.texts["h3"] if arm in SCORES)


def test_nothing_is_taken_for_html(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    for arm, bpb in ((HOSTILE, 2.0), ("plain", 1.9)):
        for seed in (1, 2):
            print_ = "ab" * 8 if arm == HOSTILE else "cd" * 8
            put(
                study,
                record(arm, seed, bpb + seed / 100, fingerprint=print_, warnings=[HOSTILE], git_sha=HOSTILE),
                f"{print_[:4]}/seed{seed}-{print_[:8]}",
            )
    put(
        study,
        failed("plain", 3) | {"error": f"{HOSTILE}\n\x1b[31m{HOSTILE}", "fingerprint": "cd" * 8},
        "cdcd/seed3-cdcdcdcd",
    )
    describe(
        study,
        {HOSTILE: (HOSTILE, "plain")},
        claims=(Claim(HOSTILE, HOSTILE, (ClaimTest(HOSTILE, "better", ("plain",)),)),),
    )
    html = page_of(study)
    parsed = Page(html)
    assert "img" not in parsed.tags
    assert "<!--" not in html
    assert parsed.tags.count("script") == 1
    assert not [key for _, key, _ in parsed.attributes if key.startswith("on")]
    assert any(HOSTILE in message for message in parsed.texts["h3"])
    assert any(HOSTILE in message for message in parsed.texts["pre"])
    assert "\x1b" not in html


def test_the_same_again_and_from_rows(tmp_path: Path) -> None:
    study = whole_study(tmp_path)
    first = page_of(study)
    assert page_of(study) == first
    result = aggregate(study, with_curves=True)
    results = tmp_path / "results"
    write_tables(result, results)
    for name, new in (
        ("results.jsonl", f"{STUDY}.jsonl"),
        ("study.json", f"{STUDY}.study.json"),
        ("curves.jsonl", f"{STUDY}.curves.jsonl"),
    ):
        target = results / new
        if (results / name).exists():
            (results / name).rename(target)
        else:
            shutil.copy(study / name, target)
    again = page_of(results / f"{STUDY}.jsonl")
    assert again.replace(f"from {STUDY}.jsonl", f"from {STUDY}") == first


@pytest.mark.parametrize("kind", ["one run", "only failures", "no curves", "no study", "several studies"])
def test_less_than_a_whole_study(kind: str, tmp_path: Path) -> None:
    root = tmp_path / STUDY
    if kind == "one run":
        put(root, record("tied", 1, 2.0))
    elif kind == "only failures":
        plan(root, ["tied", "mos"], [1, 2])
        put(root, failed("tied", 1))
    elif kind == "several studies":
        study_of(tmp_path, SCORES)
        put(tmp_path / "adhoc", record("x", 1, 3.0, study="adhoc"))
        root = tmp_path
    else:
        root = (study_of if kind == "no curves" else curved_study)(tmp_path, SCORES)
    parsed = Page(page_of(root))
    headings = parsed.texts["h2"]
    assert headings[0] == ("Table" if kind in ("no curves", "no study") else "Warnings")
    assert headings[-1] == "All runs"
    assert "Study" not in headings
    assert ("Validation curves" in headings) == (kind == "no study")
    assert ("Runs without a score" in headings) == (kind == "only failures")
    if kind == "several studies":
        assert {"Tables", "heads", "adhoc", "heads/tied", "adhoc/x"} <= {*headings, *parsed.texts["h3"]}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study = whole_study(tmp_path)
    assert run(monkeypatch, study, "--png", tmp_path / "pictures") == 0
    message = capsys.readouterr().out
    assert f"written: {study / 'report.html'}" in message
    assert "warnings at its top" in message
    assert (study / "report.html").read_text(encoding="utf-8") == page_of(study)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        f"{n}-1.png" for n in ("differences", "gaps", "validation", "training", "bytes", "published")
    }
    assert not list(study.glob(".*.[0-9]*")), "no half-written file stays"
    assert (
        run(monkeypatch, study, "--out", tmp_path / "a" / "b.html", "--baseline", "low", "--smallest-effect-bpb", "0.5")
        == 0
    )
    assert "Baseline: low" in (tmp_path / "a" / "b.html").read_text(encoding="utf-8")
    write_tables(aggregate(study), tmp_path / "rows")
    assert run(monkeypatch, tmp_path / "rows" / "results.jsonl") == 0
    assert (tmp_path / "rows" / "results.html").exists()


def test_several_studies_share_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, other = whole_study(tmp_path), study_of(tmp_path / "b", SCORES)
    page = tmp_path / "all.html"
    assert run(monkeypatch, study, other, "--out", page, "--png", tmp_path / "png") == 0
    parsed = Page(page.read_text(encoding="utf-8"))
    assert parsed.texts["h2"] == ["Answers", "Noise by study", "Noise by arm", "Warnings"]
    assert parsed.tags.count("svg") == 1
    assert len(parsed.ids) == len(set(parsed.ids))
    assert (tmp_path / "png" / "noise.png").exists()
    for argv, message in (([], "--out: is needed"), (["--out", "x.html", "--baseline", "low"], "--baseline: belongs")):
        assert run(monkeypatch, study, other, *argv) == 2
        assert message in capsys.readouterr().err


def test_damaged_curves_and_descriptions_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    write_tables(aggregate(study, with_curves=True), tmp_path / "rows.jsonl")
    for name, content in (("rows.curves.jsonl", '{"cut'), ("rows.study.json", "[" * 100_000)):
        (tmp_path / name).write_text(content)
    result = aggregate(tmp_path / "rows.jsonl", with_curves=True)
    assert result.curves == ()
    for name in ("rows.curves.jsonl", "rows.study.json"):
        assert any(name in warning for warning in result.report.warnings)
    assert {row.group.arm for table in result.report.families for row in table.rows} == set(SCORES)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "nowhere: is not a directory"),
        (["heads", "--out", "file/x.html"], "file/x.html: cannot be written"),
        (
            ["heads", "--out", "rows.jsonl"],
            "--out: is not the name of an HTML file (rows.jsonl). Choose a file that ends in .html",
        ),
        (["heads", "--png", "file"], "--png: is not a folder (file)"),
        (["heads", "--baseline", "tide"], "Did you mean tied?"),
    ],
)
def test_a_mistake_is_named(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, SCORES)
    write_tables(aggregate(study), tmp_path)
    (tmp_path / "results.jsonl").rename(tmp_path / "rows.jsonl")
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_commands_without_torch_hydra_or_pyplot() -> None:
    code = """if True:
        import sys, pgolf.status
        print([name for name in ("torch", "hydra", "scipy", "numpy") if name in sys.modules])
        import pgolf.train
        print([name for name in ("torch", "scipy", "numpy") if name in sys.modules])
        import pgolf.report
        print([name for name in ("torch", "matplotlib.pyplot", "pandas") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n[]\n"


def test_elements() -> None:
    assert tag("p", "a", class_="x", data_value="<", id=None) == '<p class="x" data-value="&lt;">a</p>'
    assert text("a\n<b>") == "a &lt;b&gt;"
    assert text("a\u202e1.25\ud800") == "a?1.25?", "a name turns no number round"
    cells = ("2.0133 (0.0153)", "-0.1000 [-0.2, +0.1]", "+1,234.5", "<0.0001", "baseline", "", "3 of 4", "1.3e-06")
    assert [sort_value(cell) for cell in cells] == ["2.0133", "-0.1000", "1234.5", "0", None, None, "3", "1.3e-06"]
    result = table(Grid(("arm", "n"), (False, True), (("a_b", "3"), ("c", ""))), "Arms", sortable=True)
    assert '<th scope="row">a_<wbr>b</th><td class="number" data-value="3">3</td>' in result
    assert '<td class="number"></td>' in result
