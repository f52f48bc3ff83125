"""Paths with any character that a file system allows, in options that hold paths."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pgolf.config.command_line import compose_one, preflight
from pgolf.config.compose import save
from pgolf.config.identity import arm_name
from pgolf.config.path_values import PATHS, parse_or_none, quote_paths
from pgolf.data.shard_files import matching_files
from pgolf.machine.plain import read_yaml
from pgolf.records.arm_names import folder_of_arm

NAMES = [
    *(
        "josé.txt",
        "книга.txt",
        "文.txt",
        "a#b.txt",
        "a&b.txt",
        "a[1].txt",
        "a{1}.txt",
        "a!b.txt",
        "a;b.txt",
        "a~b.txt",
        "a'b.txt",
        'a"b',
    ),
    *(
        "a\\b",
        "a\\",
        "a\\\\",
        "a$b",
        "${x}",
        "\\${x}",
        "a${b",
        "${oc.env:HOME}",
        "a b",
        " a",
        "a ",
        "a=b",
        "a,b",
        "a:b",
        "(a)",
        "a)",
        "[a]",
    ),
    *(
        "{a}",
        "{a: b}",
        "2024",
        "1e3",
        "true",
        "nan",
        "a<b>",
        "a^b",
        "a`b",
        "%41",
        "a\tb",
        "a\nb",
        "a\\'b",
        'a\\"b',
        "'a' b",
        "a*b",
        "~",
    ),
    *("choice(a)", "\N{GRINNING FACE}", "e\N{COMBINING ACUTE ACCENT}"),
]
TO_BE_MADE = [name for name in NAMES if not re.search(r"\$\{|^ | $|\\\\|,|choice", name)]


def value_of(text: str) -> object:
    """The value in a configuration after an override."""
    override = parse_or_none(text)
    assert override is not None, text
    made = OmegaConf.create({"value": None})
    made.value = override.value()
    return made.value


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_existing_name_is_taken_literally(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for key in PATHS:
        for value in (name, f"{name}/below.txt", str(tmp_path / name)):
            (word,) = quote_paths([f"{key}={value}"])
            assert value_of(word) == value
            assert quote_paths([word]) == [word], "once is enough"
    saved = {"path": name, "list": [name], name: 1e-3}
    save(saved, tmp_path / "config.yaml")
    assert read_yaml(tmp_path / "config.yaml") == saved


@pytest.mark.parametrize("name", TO_BE_MADE, ids=ascii)
def test_a_name_of_a_new_folder_is_taken_literally(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert value_of(quote_paths([f"paths.out={name}"])[0]) == name


def test_other_values_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1,2").write_text("")
    (tmp_path / "a,b.txt").write_text("")
    words = [
        "seed=1,2",
        "model/head=tied,mos",
        "optim.frozen=[a,b]",
        "train.from=null",
        "data.path='a b'",
        "--multirun",
    ]
    words += ["paths.out=${oc.env:HOME}", "train.from=choice(a,b)"]
    assert quote_paths(words) == words
    assert quote_paths(["data.path=a.txt,b.txt", "data.path=a,b.txt"]) == [
        "data.path=a.txt,b.txt",
        "data.path='a,b.txt'",
    ]
    assert quote_paths(["data.path=é,b c,d", "data.extra=a b"]) == ["data.path='é','b c',d", "data.extra=a b"]
    assert quote_paths(["+data.x=a,b.txt", "data.x=é"]) == ["+data.x=a,b.txt", "data.x=é"]
    (tmp_path / "é").write_text("")
    assert quote_paths(["data.x=é"]) == ["data.x='é'"]


def test_a_composed_configuration_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "ho#me ${x} é"
    home.mkdir()
    monkeypatch.chdir(home)
    (home / "文 [1]'.txt").write_text("words\n" * 1000)
    run = compose_one(["data=text", f"data.path={home}/文 [1]'.txt", f"paths.out={home}/ö&ut"])
    config = run.resolved
    assert config["data"]["path"] == f"{home}/文 [1]'.txt"
    assert config["paths"]["out"] == f"{home}/ö&ut"
    assert arm_name(run.overrides) == "data.path=文_1_.txt,data=text"
    runs = preflight(["data=text", "data.path=文 [1]'.txt,./文 [1]'.txt"], multirun=True).runs
    assert [run.resolved["data"]["path"] for run in runs] == ["文 [1]'.txt", "./文 [1]'.txt"]


def test_an_arm_of_a_long_name_in_any_alphabet_is_a_folder(tmp_path: Path) -> None:
    name = arm_name([f"data.path='{'文' * 100}.txt'"])
    (tmp_path / folder_of_arm(name)).mkdir()
    assert name.startswith("data.path=文文文")


def test_a_glob_below_a_folder_with_brackets(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    for name in ("x_1.bin", "x_2.bin", "y[1].bin"):
        (tmp_path / "a[1]" / name).write_text("")
    assert [path.name for path in matching_files(f"{tmp_path}/a[1]/x_*.bin")] == ["x_1.bin", "x_2.bin"]
    assert [path.name for path in matching_files(f"{tmp_path}/a[1]/y[1].bin")] == ["y[1].bin"]
    assert [path.name for path in matching_files(f"{tmp_path}/**/x_[1].bin")] == ["x_1.bin"]
    assert matching_files(f"{tmp_path}/none/*.bin") == ()
