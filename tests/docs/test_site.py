"""The docs site builds strictly: broken links and pages without a place in the navigation end the build."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADING = {"img": "src", "script": "src", "iframe": "src", "link": "href", "source": "src", "video": "src"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}
CSS_LOAD = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


class Loads(HTMLParser):
    """What a browser would load for a page from another host."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(LOADING.get(tag, "")) or ""
        if address.startswith(("http:", "https:", "//")) and values.get("rel") not in NOT_LOADED:
            self.found.append(address)
        self.found += CSS_LOAD.findall(values.get("style") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_of_docs_is_in_the_navigation(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'<a href="([^"#]+)" class="md-nav__link', start))
    pages = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    assert len(pages) > 15
    assert pages | {"example-report.html", "LOG.html"} <= named


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    assert {path.name: found for path in pages if (found := Loads(path.read_text(encoding="utf-8")).found)} == {}
    assert [found for path in site.rglob("*.css") for found in CSS_LOAD.findall(path.read_text(encoding="utf-8"))] == []


def test_such_loads_are_seen() -> None:
    page = '<link rel="stylesheet" href="https://a/b.css"><img src="//a/c.png"><p style="background: url(http://a/d)">'
    assert Loads(page + '<a href="https://a"></a><img src="own.png">').found == [
        "https://a/b.css",
        "//a/c.png",
        "http://a/d",
    ]


def test_pages_have_their_content(site: Path) -> None:
    """The README with its picture, docstrings, a table, and the report of a study."""
    start = (site / "index.html").read_text(encoding="utf-8")
    assert '<img src="analysis/pictures/higher_rank_heads-trained.png"' in start
    assert (site / "analysis/pictures/higher_rank_heads-trained.png").is_file()
    assert 'href="studies.html"' in start
    assert "class Tempered" in re.sub(r"<[^>]+>", "", start)
    assert "Execute the runs of some overrides" in (site / "api-reference.html").read_text(encoding="utf-8")
    assert "T0_tied" in (site / "analysis/results/higher_rank_heads.table.html").read_text(encoding="utf-8")
    assert "T0_tied" in (site / "example-report.html").read_text(encoding="utf-8")
