"""A file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from pgolf.machine.files import read_regular, write_lines, write_whole


def test_a_file_gets_its_content_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a.bin", b"one", b"two") == 6
    assert (tmp_path / "a.bin").read_bytes() == b"onetwo"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_old_file_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    (tmp_path / "a.bin" / "inside").touch()
    with pytest.raises(OSError):  # noqa: PT011 (which one is the system's)
        write_whole(tmp_path / "a.bin", b"new")
    assert sorted(os.listdir(tmp_path)) == ["a.bin"]


def test_a_name_of_the_longest_length_is_written(tmp_path: Path) -> None:
    name = "x" * 255
    write_whole(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == [name]


def test_half_a_surrogate_pair_is_written_as_an_escape(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.txt", ["a\ud800b\n", "文\n"])
    assert read_regular(tmp_path / "a.txt").decode() == "a\\ud800b\n文\n"
