"""Text from files that would mean something to a browser, Markdown, LaTeX, a spreadsheet, a terminal or matplotlib: it
is shown as text.
"""

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from made_records import describe, plan, put, record
from pgolf.machine.clean_text import clean
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.pages.figures.export import svg
from pgolf.pages.figures.gallery import Exhibit, gallery
from pgolf.pages.formats import FORMULA, csv_text, latex, markdown, show, spreadsheet_text
from pgolf.pages.html.document import document
from pgolf.study.description import Claim, ClaimTest
from pgolf.tables.text import Grid, Section, SectionKind

UNREADABLE = ["nul\0and", "half \ud800 pair"]  # files with these are refused
HOSTILE = [
    "<script>zz()</script>",
    '"><zz-tag onzz="1">',
    "' onzz=1 x='",
    "a|b||c",
    "back\\slash\\",
    "$x^2$ $$y$$",
    "new\nline\r\ncr\rtab\tend",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202ereversed\u2066",
    "c1 \x9b2J",
    "no character \uffff",
    "=1+1",
    "@SUM(A1)",
    "+1+cmd",
    "-2+3",
    "\t=1",
    "[/red][bold]x",
    "{}%s%(a)s",
    r"\input{/etc/passwd}",
    "~^_&#% ",
    "`code` ```",
    "![](x) [a](javascript:zz)",
    "<img src=x onzz=1>",
    "&lt;zz&gt; &#60;",
    "]]>--><!-- </style></svg>",
    "# heading",
    "1. item",
]
ODD_CHARACTERS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\uffff]"
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study with a hostile text in every field that holds text: each text is an arm, and stands in other fields of
    that arm's rows.
    """
    study = tmp_path_factory.mktemp("hostile") / "heads"
    for number, text in enumerate(HOSTILE):
        mark = f"{number:08x}" * 2
        fields = {
            "overrides": [f"study.arm={text}", f"+{text}=1"],
            "warnings": [text],
            "device": text,
            "eval_mode": text if number % 3 == 0 else "plain",
            "code_sha": text,
            "code_files": [f"{text} 1"],
            "choices.scale": text,
            "choices.data": text,
            f"config.{text}": text,
            "config.model.x": [text],
            "versions.torch": text,
            "steps": 100,
            "val_bpb_live": 2.0,
        }
        for seed in (1, 2):
            put(
                study,
                record(text, seed, 2.0 + number / 100 + seed / 1000, fingerprint=mark, **fields),
                f"a{number}/seed{seed}-{mark[:8]}",
            )
        put(
            study,
            record(text, 3, 1.0) | {"status": "failed", "error": f"{text}\n{text}", "fingerprint": mark},
            f"a{number}/x",
        )
        put(study, record(text, 4, 1.0, fingerprint=mark, total_bytes=text), f"a{number}/y")
    plan(study, HOSTILE[:4], [1])
    claims = tuple(Claim(text, text, (ClaimTest(HOSTILE[0], "worse", (HOSTILE[1],)),)) for text in HOSTILE)
    rows = {text: {"val_bpb": 2.0 + n / 50} for n, text in enumerate(HOSTILE)}
    describe(study, {text: [*HOSTILE[:1], *HOSTILE[1:]] for text in HOSTILE[:2]}, published=rows, claims=claims)
    found = json.loads((study / "study.json").read_text(encoding="utf-8"))
    found |= {"question": " ".join(HOSTILE), "source": "".join(HOSTILE)}
    (study / "study.json").write_text(json.dumps(found), encoding="utf-8")
    return aggregate(study)


@pytest.fixture(scope="module")
def exhibits(result: StudyResults) -> list[Exhibit]:
    return gallery(result)


class Seen(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[tuple[str, str | None]] = []
        self.scripts = 0
        self.message: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.scripts += tag == "script"
        self.attributes |= {name for name, _ in attrs}
        self.values += attrs

    def handle_data(self, data: str) -> None:
        self.message.append(data)


def seen(page: str) -> Seen:
    parser = Seen()
    parser.feed(page)
    parser.close()
    return parser


def test_html(result: StudyResults, exhibits: list[Exhibit]) -> None:
    page = document(result, exhibits)
    found, page_text = seen(page), clean("".join(seen(page).message))
    assert found.scripts == 1
    assert not {"img", "zz-tag", "iframe", "object"} & found.tags
    assert not {name for name in found.attributes if name.startswith("on") or not re.fullmatch(r"[\w:-]+", name)}
    assert all(
        value is not None and value.startswith(("#", "data:,"))
        for name, value in found.values
        if name.endswith(("href", "src"))
    )
    assert not ODD_CHARACTERS.search(page)
    for text in HOSTILE:
        assert clean(text) in page_text, text


def test_pictures(exhibits: list[Exhibit]) -> None:
    shown = 0
    for exhibit in exhibits:
        for picture in exhibit.panels.values():
            tree = ElementTree.fromstring(svg(picture))
            assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {
                *["svg", "title", "desc", "g", "path", "text", "tspan", "use", "defs", "clipPath", "rect"]
            }
            shown += sum("$x^2$" in (element.text or "") for element in tree.iter() if element.tag.endswith("text"))
    assert shown, "dollar signs are shown, not set as a formula"


def test_markdown(result: StudyResults) -> None:
    text = markdown(result.sections)
    assert not ODD_CHARACTERS.search(text)
    columns = None
    for line in text.split("\n"):
        if not line.startswith("| "):
            assert not line or line.startswith(("## ", "- ")), line
            assert not re.match(r"(## |- )([#>]|[-+*] |\d+[.)] )", line), line
            columns = None
            continue
        cells = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1
        assert columns in (None, cells), line
        columns = cells
    assert "<" not in text
    assert not re.search(r"(?<!\\)(?:\\\\)*[`$\[\]*~]", text)
    assert not re.search(r"&(?!(amp|lt|gt);)#?\w+;", text)


def test_latex(result: StudyResults) -> None:
    text = latex(result.sections)
    assert not ODD_CHARACTERS.search(text)
    bare = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}|\\symbol\{\d+\}|\\[&%$#_{}]",
        "",
        text,
    )
    commands = set(re.findall(r"\\([a-zA-Z]+)", bare.split("\n", 1)[1]))
    assert commands <= {*["paragraph", "begin", "end", "item", "hline", "footnotesize", "linewidth"]}
    assert not re.search(r"[%#~^<>|\"_]", bare.split("\n", 1)[1])
    assert bare.count("$") == 2 * bare.count("$-$")


def test_csv(result: StudyResults) -> None:
    text = csv_text(result.report)
    lines = list(csv.reader(io.StringIO(text)))
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + sum(len(table.rows) for table in result.report.families)
    for cell in (cell for line in lines for cell in line):
        assert not ODD_CHARACTERS.search(cell)
        if cell[:1] and cell[0] in FORMULA:
            float(cell)
    arms = {line[lines[0].index("arm")] for line in lines[1:]}
    assert {"'=1+1", "'@SUM(A1)", "'+1+cmd", "'-2+3"} <= arms


@pytest.mark.parametrize("number", ["-0.0123", "+1.5", "-1e-07", "0", "-1,234", "-.5"])
def test_a_plain_number_stays_a_number_for_a_spreadsheet(number: str) -> None:
    assert spreadsheet_text(number) == number


@pytest.mark.parametrize("text", ["-0.1 [-0.2, -0.1]", "-", "=1", "\uff1d1", "@x", "+x", "-1-1", "\r=1", "--1"])
def test_what_is_no_plain_number_is_text_for_a_spreadsheet(text: str) -> None:
    assert spreadsheet_text(text).startswith("'") or spreadsheet_text(text)[0] not in FORMULA


@pytest.mark.parametrize("width", [80, 240])
def test_terminal(result: StudyResults, width: int) -> None:
    out = io.StringIO()
    texts = (*HOSTILE, *UNREADABLE)
    titles = Grid(texts, tuple(False for _ in texts), (texts,))
    show(
        [*result.sections, Section(SectionKind.FURTHER, HOSTILE[7], (HOSTILE[7],), titles)],
        Console(file=out, width=width, force_terminal=False),
    )
    assert not ODD_CHARACTERS.search(out.getvalue())
    assert "[/red]" in out.getvalue()


def as_markdown(text: str) -> Any:
    return markdown([Section(SectionKind.FURTHER, "x", (text,))]).split("\n")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [("1. x", r"- 1\. x"), ("# x", r"- \# x"), ("- x", r"- \- x"), ("---", r"- \---"), ("-0.1 x", "- -0.1 x")],
)
def test_the_start_of_a_line_begins_no_block_of_markdown(text: str, message: str) -> None:
    assert as_markdown(text) == message
