"""docs/configuration.md is what docs/make_reference.py makes of conf/ and the schema as they are."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pgolf.config.folders import conf_dir
from pgolf.config.help import groups, header, read_options

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(script: ModuleType) -> str:
    return str(script.reference())


def test_the_committed_page_is_current(page: str) -> None:
    committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == page, "conf/ or the schema has changed: run python docs/make_reference.py"


def test_every_choice_of_every_group_is_on_the_page(page: str) -> None:
    for group, choices in groups(conf_dir()):
        assert f"`{group}`" in page or group.startswith("arm/")
        assert [choice for choice in choices if f"`{choice}`" not in page] == [], group


def test_every_option_of_every_file_is_on_the_page(page: str, script: ModuleType) -> None:
    for path in sorted(conf_dir().rglob("*.yaml")):
        group = path.parent.relative_to(conf_dir()).as_posix()
        if group.split("/")[0] == "arm" or (group == "study" and path.stem != "adhoc"):
            continue
        assert [name for name, _ in script.options_of(path) if f"`{name}`" not in page] == [], path


def test_keys_notes_and_headers_are_read_as_they_stand(tmp_path: Path, script: ModuleType) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "# @package _global_\n# A sentence.\n#   python -m pgolf.train x=y    one minute\n"
        "_target_: a.B\nwidth: 8 # of it\nroles:\n  head:\n    lr: 0.1 # a rate\ndefaults:\n  - a: b\nlast: null\n"
    )
    assert header(path) == ["A sentence.", "  python -m pgolf.train x=y    one minute"]
    assert [(".".join(option.keys), option.value, option.note) for option in read_options(path)] == [
        ("width", "8", "of it"),
        ("roles", "", ""),
        ("roles.head", "", ""),
        ("roles.head.lr", "0.1", "a rate"),
        ("last", "null", ""),
    ]
    assert script.described(path) == ["A sentence.", "", "```", "python -m pgolf.train x=y  # one minute", "```", ""]
