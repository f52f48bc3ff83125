"""A page as Markdown, LaTeX and terminal text, and the tables as CSV with unrounded numbers."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgolf.machine.clean_text import clean
from pgolf.pages.sections import Scoring, comparable_nats, notes, score_titles, scoring
from pgolf.tables.family import ArmRow, FamilyTable
from pgolf.tables.stats import TTest
from pgolf.tables.table import Tables
from pgolf.tables.text import Grid, Section

MOST_LINES = 20  # of one section on a terminal
LONGEST_LINE = 600
WIDEST = 48  # characters of a column there
LATEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "[": "{[}",  # after the end of a row a bare bracket would be an optional argument
    "]": "{]}",
}
ENTITY = re.compile(r"&(?=#?\w+;)")
BLOCK = re.compile(r"^(#|[+-](?= |$)|[-=]+$|\d+(?=[.)]( |$)))")  # the beginnings of Markdown blocks
FORMULA = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"  # a spreadsheet evaluates a cell that begins with one of these
PLAIN_NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?")


def markdown_text(text: str) -> str:
    """Text escaped for Markdown, also at the start of a line, and for readers that take dollar signs for formulas."""
    escaped = re.sub(r"([\\`*_|~$\[\]])", r"\\\1", ENTITY.sub("&amp;", clean(text)))
    return BLOCK.sub(lambda match: escaped_start(match[0]), escaped).replace("<", "&lt;").replace(">", "&gt;")


def escaped_start(start: str) -> str:
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def spreadsheet_text(text: str) -> str:
    """A cell of a CSV file. A leading apostrophe keeps spreadsheets from evaluating a text; plain numbers need none."""
    line = clean(text)
    return f"'{line}" if line[:1] and line[0] in FORMULA and not PLAIN_NUMBER.fullmatch(line) else line


def latex_text(text: str) -> str:
    return re.sub(r"[\\&%$#_{}~^<>|\"\[\]]", lambda match: LATEX[match[0]], clean(text))


def latex_number(text: str) -> str:
    """As latex_text, with minus signs for negative numbers."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", latex_text(text))


def markdown(sections: Sequence[Section]) -> str:
    lines = []
    for section in sections:
        lines += [f"## {markdown_text(section.heading)}", ""]
        lines += [f"- {markdown_text(line)}" for line in section.lines] + [""] * bool(section.lines)
        if section.grid:
            lines += [*markdown_grid(section.grid), ""]
    return "\n".join(lines)


def markdown_grid(grid: Grid) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = line(["---:" if numeric else "---" for numeric in grid.numeric])
    return [line([*map(markdown_text, grid.columns)]), rule, *(line([*map(markdown_text, row)]) for row in grid.rows)]


def latex(sections: Sequence[Section]) -> str:
    """A page as a fragment to \\input, in standard LaTeX without packages."""
    lines = ["% \\input this fragment; it needs no package"]
    for section in sections:
        lines += ["", rf"\paragraph{{{latex_text(section.heading)}}}"]
        if section.lines:
            lines += [r"\begin{itemize}", *(rf"\item {latex_number(line)}" for line in section.lines), r"\end{itemize}"]
        if section.grid:
            lines += latex_grid(section.grid)
    return "\n".join(lines) + "\n"


def latex_grid(grid: Grid) -> list[str]:
    last = len(grid.columns) - 1
    # A last column of words has line breaks.
    kinds = "".join(
        "r" if numeric else r"p{0.25\linewidth}" if at == last and at else "l"
        for at, numeric in enumerate(grid.numeric)
    )
    rows = [
        " & ".join(
            latex_number(cell) if numeric else latex_text(cell) for cell, numeric in zip(row, grid.numeric, strict=True)
        )
        + r" \\"
        for row in grid.rows
    ]
    head = " & ".join(map(latex_text, grid.columns)) + r" \\"
    return [
        r"\begin{center}\footnotesize",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\hline",
        head,
        r"\hline",
        *rows,
        r"\hline",
        r"\end{tabular}",
        r"\end{center}",
    ]


def show(sections: Sequence[Section], console: Console) -> None:
    """Print a page. Long sections are cut, with a note."""
    for section in sections:
        console.print(Text(clean(section.heading), style="bold"))
        for line in section.lines[:MOST_LINES]:
            text = clean(line)
            cut = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ... (complete in table.md)"
            console.print(Text(f"  {cut}"))
        if len(section.lines) > MOST_LINES:
            console.print(f"  ... and {len(section.lines) - MOST_LINES} more in table.md")
        if section.grid:
            show_grid(section.grid, console)
        console.print()


def show_grid(grid: Grid, console: Console) -> None:
    """Print a grid. Columns that do not fit follow below, with the first column repeated."""
    rows = grid.rows[: 5 * MOST_LINES]
    widths = [
        min(WIDEST, max(len(clean(cell)) for cell in column)) + 2 for column in zip(grid.columns, *rows, strict=True)
    ]
    parts: list[list[int]] = [[]]
    for at in range(1, len(widths)):
        if parts[-1] and widths[0] + sum(widths[i] for i in parts[-1]) + widths[at] > console.width:
            parts.append([])
        parts[-1].append(at)
    for part in parts:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for at in (0, *part):
            table.add_column(
                Text(clean(grid.columns[at])),
                justify="right" if grid.numeric[at] else "left",
                overflow="fold",
                max_width=WIDEST,
            )
        for row in rows:
            table.add_row(*(Text(clean(row[at])) for at in (0, *part)))
        console.print(table)
    if len(grid.rows) > len(rows):
        console.print(f"  ... and {len(grid.rows) - len(rows)} more rows in table.md")


def csv_text(report: Tables) -> str:
    """The tables as CSV, one line per arm and family. A missing number is an empty cell; the columns `refused` and
    `notes` say why.
    """
    lines = [line for table in report.families for line in csv_lines(table)]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    tail = [key for key in columns if key.startswith("config.")]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    titles = [key for key in columns if key not in tail] + sorted(tail)
    writer.writerow(map(spreadsheet_text, titles))
    writer.writerows([csv_cell(line.get(key)) for key in titles] for line in lines)
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """A number unchanged; text, lists and mappings as text."""
    return spreadsheet_text(str(value)) if isinstance(value, str | list | dict) else value


def csv_lines(table: FamilyTable) -> list[dict[str, Any]]:
    titles = {kind: title.replace(" ", "_") for kind, title in score_titles(table.rows).items()}
    return [csv_line(table, row, titles) for row in table.rows]


def csv_line(table: FamilyTable, row: ArmRow, titles: dict[Scoring, str]) -> dict[str, Any]:
    comparison, group = row.comparison, row.group
    refusal = comparison.refusal if comparison else group.refusal
    line: dict[str, Any] = {
        "family": table.family.name,
        "study": group.study,
        "arm": group.arm,
        "fingerprint": group.fingerprint,
    }
    line |= {
        "baseline": comparison.baseline if comparison else "",
        "n": group.n,
        "n_planned": group.planned_seeds if group.planned else None,
    }
    line |= {"planned": group.planned, "eval_mode": group.only("eval_mode"), "val_text_sha": group.only("val_text_sha")}
    for kind, title in titles.items():
        is_own = row.mean_bpb is not None and scoring(row) == kind
        line |= {f"mean_{title}": row.mean_bpb if is_own else None, f"sd_{title}": row.sd_bpb if is_own else None}
    line |= {
        "refused": refusal.text if refusal else None,
        **test_cells("", comparison.test if comparison else None),
        "holm_p": row.holm_p,
    }
    line |= {
        **test_cells("other_", comparison.other_test if comparison else None),
        "correlation": comparison.correlation if comparison else None,
    }
    threshold = comparison.threshold if comparison else None
    line |= {
        "threshold_improvement_nats": threshold.test.difference if threshold else None,
        "threshold_p": threshold.test.p if threshold else None,
        "threshold_passed": threshold.passed if threshold and row.hindrance is None else None,
        "mean_nats": comparable_nats(row, table.rows),
    }
    line |= {"params_total": group.only("params.total"), "params_frozen": group.only("params.frozen")}
    line |= {
        "mean_total_bytes": group.mean("total_bytes"),
        "under_cap": all(r.get("under_cap") for r in group.used.values()) if group.n else None,
    }
    line |= {"mean_step_ms": group.mean("step_ms_median"), **row.extra, "notes": notes(row)}
    return line | {f"config.{key}": value for key, value in row.differing.items()}


def test_cells(prefix: str, test: TTest | None) -> dict[str, Any]:
    names = {
        "name": "test",
        "difference": "difference_bpb",
        "low": "low_bpb",
        "high": "high_bpb",
        "t": "t",
        "df": "df",
        "p": "p",
    }
    return {prefix + title: getattr(test, name) if test else None for name, title in names.items()}
