"""Hooks of the docs site (mkdocs.yml): pages from outside docs/, and text written for a code host.

The README is the landing page. Links from docs/ to other files of the repository lead to pages of the site where one
exists, and otherwise become the file's path as text. The example report is made by pgolf at each build.
"""

import posixpath
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("LOG.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "analysis/README.md")
GLOBS = ("analysis/results/*.table.md", "analysis/pictures/*.png")
RESULTS = ROOT / "analysis" / "results" / "higher_rank_heads.jsonl"
REPORT = "example-report.html"
FENCE = re.compile(r"^ *(```|~~~)")
BLOCK = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"(?:[-*]|\d+\.) ")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
SOURCE = re.compile(r'(<img src=")([^":]+)(")')


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the repository that the site shows."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    for path in [*(ROOT / name for name in PAGES), *(path for glob in GLOBS for path in sorted(ROOT.glob(glob)))]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, REPORT, content=example_report()))
    return files


def example_report() -> str:
    """The page that `python -m pgolf.report` makes of a study's results."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / REPORT
        command = [sys.executable, "-m", "pgolf.report", str(RESULTS), "--out", str(page)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # -m finds pgolf in cwd
        if done.returncode != 0:
            raise PluginError(f"{REPORT}: was not made ({done.stderr.strip()}). Run: {' '.join(command)}")
        return page.read_text(encoding="utf-8")


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Fit links and lists of a page, outside code."""
    site = page.file.src_uri
    origin = "README.md" if site == "index.md" else site
    if origin not in ("README.md", *PAGES) and not origin.startswith("analysis/"):
        origin = f"docs/{origin}"
    known = {file.src_uri for file in files}

    def place(target: str) -> tuple[str, str | None]:
        """(path in the repository, link from this page or None without a page)."""
        name, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), name))
        shown = "index.md" if path == "README.md" else path.removeprefix("docs/")
        link = posixpath.relpath(shown, posixpath.dirname(site) or ".") + mark + anchor
        return path, link if shown in known else None

    def relink(match: re.Match[str]) -> str:
        target = match["target"]
        if target.startswith("#") or re.match(r"[a-z]+:", target):
            return match[0]
        path, link = place(target)
        text = LINK.sub(relink, match["text"])
        if link is None:
            return f"{text} (`{path}`)" if (ROOT / path).exists() else match[0]  # strict mode reports the rest
        return f"{match['image']}[{text}]({link})"

    def fit(text: str) -> str:
        text = SOURCE.sub(lambda found: found[1] + (place(found[2])[1] or found[2]) + found[3], text)
        return LINK.sub(relink, text)

    parts = BLOCK.split(lists(markdown))  # every second part is a block of code
    return "".join(part if number % 2 else fit(part) for number, part in enumerate(parts))


def lists(markdown: str) -> str:
    """Lists as Markdown for Python wants them: after an empty line, with four spaces inside "1. "."""
    lines: list[str] = []
    fenced = listed = ordered = False
    for line in markdown.split("\n"):
        if ordered and line.startswith("   ") and (fenced or not line.startswith("    ")):
            line = f" {line}"
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and ITEM.match(line):
            if not listed and lines and lines[-1].strip():
                lines.append("")
            listed, ordered = True, line[0].isdigit()
        elif not fenced and line and not line.startswith(" "):
            listed = ordered = ordered and bool(lines and lines[-1].strip())
        lines.append(line)
    return "\n".join(lines)
