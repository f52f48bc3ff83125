"""Files are written atomically."""

import errno
import os
from pathlib import Path

import pytest

from pgolf.machine.files import (
    describe_os_error,
    is_inside,
    read_regular,
    remove_partials,
    root_of,
    unwritten,
    write_lines,
    write_whole,
)


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


def test_a_full_disk_is_named_by_its_root(tmp_path: Path) -> None:
    name = "文" * 80
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match="Is a directory") as caught:
        write_whole(tmp_path / name, b"new")
    assert caught.value.filename == str(tmp_path / name), "not that of the temporary file"
    assert unwritten(caught.value, tmp_path / name) == f"{tmp_path / name}: cannot be written (Is a directory)"
    root, full = root_of(tmp_path), OSError(errno.ENOSPC, "No space left on device")
    assert os.path.ismount(root)
    assert (
        unwritten(full, tmp_path / "a")
        == describe_os_error(full, tmp_path / "a")
        == f"no space left on {root} ({tmp_path / 'a'})"
    )
    assert describe_os_error(OSError(errno.EDQUOT, "Quota exceeded"), tmp_path).startswith(
        f"the disk quota is used up on {root}"
    )
    assert describe_os_error(OSError("odd")) == "the file system: odd"


def test_temporary_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    for name in (".result.json.1.partial", "a.partial", ".lock"):
        (tmp_path / name).touch()
    remove_partials(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "a.partial"]


@pytest.mark.parametrize("name", ["a", "a/b", "é" * 127, "a/" * 900 + "b"])
def test_a_path_below_its_folder(name: str, tmp_path: Path) -> None:
    assert is_inside(name)
    assert not (tmp_path / name).exists()  # the file system can be asked


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../x", "a/../../x", "a\0", "é" * 128, "a/" * 1500 + "b"])
def test_a_path_that_cannot_lie_below_its_folder(name: str) -> None:
    assert not is_inside(name)
