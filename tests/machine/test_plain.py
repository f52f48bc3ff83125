"""The readers of JSON and YAML accept plain data only."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pgolf.errors import DamagedFile
from pgolf.machine.plain import MAX_DEPTH, parse_json, parse_yaml, read_json, read_yaml, yaml_text

BAD_JSON = {
    "a key twice": ('{"a": 1, "a": 2}', "the key 'a' twice"),
    "NaN": ("[NaN]", "NaN"),
    "minus infinity": ("[-Infinity]", "-Infinity"),
    "a number beyond floats": ("[1e999]", "too large"),
    "digits beyond floats": (f"[{'9' * 400}.0]", "too large"),
    "an endless integer": (f"[{'9' * 5000}]", "4300"),
    "half a surrogate pair": ('{"a": ["\\ud800"]}', "surrogate"),
    "half a surrogate pair as a key": ('{"\\udfff": 1}', "surrogate"),
    "NUL": ('{"a": "b\\u0000c"}', "NUL"),
    "deep": ("[" * 100_000 + "]" * 100_000, "levels deep"),
    "one level too many": ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels deep"),
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
    "cut short": ('{"a": [1, 2', "not JSON"),
    "nothing": ("", "not JSON"),
    "something after it": ("{} {}", "not JSON"),
}
BAD_YAML = {
    "a tag": ("a: !!python/object/apply:os.getcwd []", "the tag"),
    "a tag of YAML's own": ("a: !!binary aGk=", "the tag"),
    "an anchor": ("a: &b [1]\nc: *b", "anchor"),
    "a key twice": ("a: 1\na: 2", "twice"),
    "a list as a key": ("{[1]: 2}", "key"),
    "an endless whole number": (f"a: {'9' * 5000}", "4300"),
    "infinity": ("a: .inf", "too large"),
    "half a surrogate pair": ('a: "\\ud800"', "surrogate"),
    "NUL": ('a: "\\0"', "NUL"),
    "deep brackets": ("[" * 100_000, "levels deep"),
    "deep dashes": ("- " * 100_000, "levels deep"),
    "deep blocks": ("\n".join(" " * depth + "a:" for depth in range(600)), "levels deep"),
    "not UTF-8": (b"a: \xff", "not UTF-8"),
    "cut short": ("a: [1, 2", "not YAML"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_anything_but_plain_json_is_refused_with_a_reason(case: str) -> None:
    text, reason = BAD_JSON[case]
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


@pytest.mark.parametrize("case", BAD_YAML)
def test_anything_but_plain_yaml_is_refused_with_a_reason(case: str) -> None:
    text, reason = BAD_YAML[case]
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text)


def test_text_of_every_kind_survives() -> None:
    assert parse_json('{"name": "\\ud83d\\ude00 文", "x": [1e308, -5, null, true]}') == {
        "name": "😀 文",
        "x": [1e308, -5, None, True],
    }


def test_a_number_to_the_base_of_60_is_text() -> None:
    long = "1:" + "59:" * 200_000 + "1"  # PyYAML would compute it, in quadratic time
    assert parse_yaml(f"a: 1:30\nb: {long}") == {"a": "1:30", "b": long}


def test_an_interpolation_is_text() -> None:
    assert parse_yaml("a: ${oc.env:HOME}\nb: '${oc.create:{_target_:os.getcwd}}'") == {
        "a": "${oc.env:HOME}",
        "b": "${oc.create:{_target_:os.getcwd}}",
    }


def printable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abe1.-+: 文", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef_", min_size=1, max_size=6), PLAIN, max_size=6))
@settings(deadline=None)  # a busy machine
def test_a_saved_configuration_is_read_as_omegaconf_reads_it(config: dict[str, object]) -> None:
    text = OmegaConf.to_yaml(OmegaConf.create(config), sort_keys=True)
    assert parse_yaml(text) == OmegaConf.to_container(OmegaConf.create(text)) == config


@given(st.dictionaries(st.text(max_size=4).filter(printable), st.text().filter(printable), max_size=4))
@settings(deadline=None)  # a busy machine
def test_any_text_survives_being_written_and_read(texts: dict[str, str]) -> None:
    assert parse_yaml(yaml_text(texts)) == texts


def test_a_pipe_and_a_device_and_a_folder_are_named_and_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for reader in (read_json, read_yaml):
            with pytest.raises(DamagedFile, match=f"^{path}: "):
                reader(path)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "zeros.json"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)  # 2 GB of zeros that take no space on disk
    for reader in (read_json, read_yaml):
        with pytest.raises(DamagedFile, match=r"2,147,483,648 bytes; at most"):
            reader(path)


def test_a_missing_file_is_told_apart(tmp_path: Path) -> None:
    for reader in (read_json, read_yaml):
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "none.json")
        (tmp_path / "file").write_text("x")
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "file" / "none.json")
