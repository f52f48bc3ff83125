"""The documents name what exists: links, headings, paths, commands and choices. The README's example works."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from pgolf.config.binding import bind
from pgolf.config.folders import conf_dir
from pgolf.config.help import groups

ROOT = Path(__file__).resolve().parents[2]
NAMED = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "analysis/README.md", "multirun/README.md")
PAGES = [*(ROOT / name for name in NAMED), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
# A path of the repository: its folder, then anything that a path may hold.
PATH = re.compile(r"(?<![\w./-])((?:pgolf|tests|conf|docs|analysis|benchmarks)/[\w./*-]*[\w*/])")
MODULE = re.compile(r"python -m (pgolf(?:\.\w+)*)|[`$] ?pgolf ([a-z]+)")
CHOICE = re.compile(r"(?<![\w./@-])((?:[a-z_]+/)*[a-z_]+)=(\w+(?:,\w+)*)(?![\w./*=<])")
INNER = re.compile(r"`([a-z_]+/[a-z0-9_/]+)`")  # a module or folder of pgolf, named without `pgolf/`
EXAMPLE = re.compile(r"^\d\. `([^`]+)`.*?\n\s+```\w+\n(.*?)\n\s+```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"^[A-Z]+$")  # FOLDER, STUDY, NAME
# Choices of examples: a mistake, variants and studies of the reader's own.
INVENTED = {"moss", "own", "heads", "own_bias", "own_biased", "own_sums"}


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found: dict[str, int] = {}
    made = set()
    for heading in HEADING.findall(FENCE.sub("", text_of(path))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("\\", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        times = found.get(slug, 0)
        found[slug] = times + 1
        made.add(f"{slug}-{times}" if times else slug)
    return made


def example() -> dict[str, str]:
    """{path: text} of the files that the README's example adds."""
    section = text_of(ROOT / "README.md").partition("## Add a head")[2].partition("\n## ")[0]
    return {path: re.sub(r"^ {3}", "", text, flags=re.MULTILINE) + "\n" for path, text in EXAMPLE.findall(section)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_and_modules_exist(page: Path) -> None:
    text = text_of(page)
    absent = []
    for name in PATH.findall(text):
        is_example = name in example() or any(PLACEHOLDER.match(part) for part in name.split("/"))
        if not is_example and not list(ROOT.glob(name.rstrip("/"))):
            absent.append(name)
    for dotted, short in MODULE.findall(text):
        if PLACEHOLDER.match(dotted.rpartition(".")[2]):
            continue
        file = ROOT.joinpath(*(dotted or f"pgolf.{short}").split("."))
        if not file.with_suffix(".py").is_file() and not (file / "__main__.py").is_file():
            absent.append(dotted or f"pgolf {short}")
    assert absent == []


def test_modules_that_the_architecture_names_exist() -> None:
    folders = {path.name for path in (ROOT / "pgolf").iterdir() if path.is_dir()}
    named = [name for name in INNER.findall(text_of(ROOT / "ARCHITECTURE.md")) if name.split("/")[0] in folders]
    assert len(named) > 40
    assert [
        name for name in named if not (ROOT / "pgolf" / f"{name}.py").is_file() and not (ROOT / "pgolf" / name).is_dir()
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_choices_that_commands_name_exist(page: Path) -> None:
    known = {group: set(choices) for group, choices in groups(conf_dir())}
    own = {Path(path).stem for path in example()}
    absent = [
        f"{group}={choice}"
        for group, choices in CHOICE.findall(text_of(page))
        if group in known
        for choice in choices.split(",")
        if choice not in known[group] | own | INVENTED and not PLACEHOLDER.match(choice)
    ]
    assert absent == []


def test_the_example_of_the_readme_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class takes the keys of its YAML, and its test passes."""
    files = example()
    (code, config, test) = files
    assert Path(code).parent.as_posix() == "pgolf/nn/head"
    assert Path(config).parent.as_posix() == "conf/model/head"
    module = ModuleType("pgolf.nn.head.tempered")
    exec(compile(files[code], code, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    node = yaml.safe_load(files[config])
    dotted, _, name = node["_target_"].rpartition(".")
    assert dotted == ".".join(Path(code).with_suffix("").parts) == module.__name__
    assert bind("model.head", {**node, "_target_": getattr(module, name)}) == []
    own: dict[str, object] = {}
    exec(compile(files[test], test, "exec"), own)
    tests = [function for key, function in own.items() if key.startswith("test_")]
    assert tests
    for function in tests:
        assert callable(function)
        function()


def test_broken_things_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n## One\n## One\n```\n# not a heading\n```\n[x](gone.md) pgolf/gone.py model/head=gone\n"
    )
    assert anchors(page) == {"one-two", "one", "one-1"}
    assert LINK.findall(text_of(page)) == ["gone.md"]
    assert PATH.findall(text_of(page)) == ["pgolf/gone.py"]
    assert CHOICE.findall(text_of(page)) == [("model/head", "gone")]
