"""Folders of user-defined config groups: their choices are available and their classes are trusted."""

import os
import sys
from pathlib import Path

import pytest

from pgolf.config.command_line import preflight
from pgolf.config.folders import CONFIG_DIR, config_folders
from pgolf.config.help import help_text
from pgolf.config.search_path import search_path_words, use_search_path
from pgolf.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of config groups of an importable package `my_own` with a head."""
    sys.modules.pop("my_own", None)  # of another test
    group = tmp_path / "my_own" / "conf" / "model" / "head"
    group.mkdir(parents=True)
    own = "from pgolf.nn.head.tied import Tied\n\n\nclass Own(Tied):\n    pass\n"
    (tmp_path / "my_own" / "__init__.py").write_text(own)
    (group / "own.yaml").write_text("_target_: my_own.Own\n_partial_: true\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CONFIG_DIR, "")  # what hydra.searchpath sets is undone after the test
    return tmp_path / "my_own" / "conf"


@pytest.mark.parametrize("place", ["pkg://my_own.conf", "file://{conf}", "{conf}", "my_own/conf"])
def test_a_choice_of_ones_own_is_used_only_where_its_place_is_named(package: Path, place: str) -> None:
    with pytest.raises(ConfigError, match=r"model/head: no such choice \(own\)"):
        preflight(["model/head=own"], multirun=False)
    word = f"hydra.searchpath=[{place.format(conf=package)}]"
    (run,) = preflight([word, "model/head=own"], multirun=False).runs
    assert run.config.model.head["_target_"] == "my_own.Own"
    assert run.overrides == ("model/head=own",), "the place is not part of an arm"
    assert os.environ[CONFIG_DIR] == str(package), "processes of a sweep use it too"
    assert f"Of {package}:\n  model/head           own\n" in help_text()


def test_several_places_are_added_to_each_other(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "a [1] b"
    other.mkdir()
    words = ["seed=3", 'hydra.searchpath=[pkg://my_own.conf,"a [1] b"]', "hydra.searchpath=pkg://my_own.conf"]
    assert use_search_path(words) == ["seed=3"]
    assert config_folders()[1:] == [package, other]
    assert search_path_words() == [f'hydra.searchpath=["file://{package}","file://{other}"]']
    assert use_search_path(search_path_words()) == []
    assert config_folders()[1:] == [package, other]


def test_a_file_with_the_name_of_another_choice_is_refused(package: Path) -> None:
    (package / "model" / "head" / "tied.yaml").write_text("_target_: my_own.Own\n_partial_: true\n")
    with pytest.raises(ConfigError, match=r"model/head/tied\.yaml is in .*conf and in .*my_own/conf\. Rename one"):
        preflight(["hydra.searchpath=[pkg://my_own.conf]"], multirun=False)


def test_a_package_that_fails_at_import_is_named(package: Path) -> None:
    (package.parents[1] / "broken").mkdir()
    (package.parents[1] / "broken" / "__init__.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError) as refused:
        use_search_path(["hydra.searchpath=[pkg://broken.conf,pkg://my_own.none,pkg://my_own]"])
    first, second = refused.value.problems
    assert first.startswith("hydra.searchpath: cannot be imported (pkg://broken.conf: ZeroDivisionError: division by")
    assert second.startswith("hydra.searchpath: no such package (pkg://my_own.none). Name an installed package")
