"""The cache of prepared corpora: entries are made once and atomically, by one of several processes; damage is named."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgolf.data.prepare.cache import entry_folder, is_entry, is_stamped, open_entry, prepare_entry, stamp, verify_entry
from pgolf.errors import DataError

KEY = {"text": "abc", "vocab_size": 300}

# Prepares an entry whose maker notes that it began, then waits for a file named `go`.
MAKER = """
import sys, time
from pathlib import Path
from pgolf.data.prepare.cache import prepare_entry
cache, me = Path(sys.argv[1]), sys.argv[2]
def make(folder):
    (folder / "part.txt").write_text(me)
    (cache.parent / f"began-{me}").touch()
    while not (cache.parent / "go").exists():
        time.sleep(0.01)
    return {"maker": me}
print(prepare_entry(cache, "demo", {"text": "abc", "vocab_size": 300}, make).facts["maker"])
"""


def _make(folder: Path) -> dict[str, object]:
    (folder / "tokens.bin").write_bytes(b"0123456789")
    return {"tokens": 5}


def _never(folder: Path) -> dict[str, object]:
    raise AssertionError("made twice")


def _start(repo_root: Path, cache: Path, name: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    command = [sys.executable, "-c", MAKER, str(cache), name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _await(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    first = prepare_entry(tmp_path / "new" / "cache", "demo", KEY, _make)
    again = prepare_entry(tmp_path / "new" / "cache", "demo", KEY, _never)
    assert first == again
    assert first.facts == {"tokens": 5}
    assert verify_entry(first.folder) == 1
    assert is_entry(first.folder)
    assert entry_folder(tmp_path, "demo", {**KEY, "vocab_size": 301}).name != first.folder.name


def test_a_failed_preparation_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, object]:
        _make(folder)
        raise DataError("no text")

    with pytest.raises(DataError, match="no text"):
        prepare_entry(tmp_path, "demo", KEY, fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    prepare_entry(tmp_path, "demo", KEY, _make)


def test_a_second_process_waits_and_takes_the_finished_entry(tmp_path: Path, repo_root: Path) -> None:
    cache = tmp_path / "cache"
    first = _start(repo_root, cache, "one")
    _await(tmp_path / "began-one")
    second = _start(repo_root, cache, "two")
    assert second.stderr is not None
    assert second.stderr.readline() == "the demo corpus is being prepared by another process; waiting for it ...\n"
    (tmp_path / "go").touch()
    assert first.communicate(timeout=30) == ("one\n", "")
    assert second.communicate(timeout=30) == ("one\n", "")
    assert not (tmp_path / "began-two").exists()


def test_a_killed_preparation_is_never_taken_for_complete(tmp_path: Path, repo_root: Path) -> None:
    cache = tmp_path / "cache"
    killed = _start(repo_root, cache, "one")
    _await(tmp_path / "began-one")
    killed.kill()
    killed.communicate(timeout=30)
    assert len(list(cache.glob(".making-demo-*"))) == 1
    assert not list(cache.glob("demo-*"))
    assert prepare_entry(cache, "demo", KEY, _make).facts == {"tokens": 5}
    assert not list(cache.glob(".making-*"))


def test_damage_is_named_with_the_remedy(tmp_path: Path) -> None:
    folder = prepare_entry(tmp_path, "demo", KEY, _make).folder
    file = folder / "tokens.bin"
    file.write_bytes(b"012345678X")
    open_entry(folder)  # the size is the same: opening is cheap and does not notice the damage
    with pytest.raises(
        DataError, match=r"tokens\.bin: damaged \(sha256 .*\. Delete the folder .*demo-.* and prepare the corpus again"
    ):
        verify_entry(folder)
    file.write_bytes(b"0123")
    with pytest.raises(DataError, match=r"tokens\.bin: 4 bytes, but 10 were written\. Delete the folder"):
        prepare_entry(tmp_path, "demo", KEY, _never)
    file.unlink()
    with pytest.raises(DataError, match=r"tokens\.bin: this file of a prepared corpus is missing"):
        prepare_entry(tmp_path, "demo", KEY, _never)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json: damaged"):
        prepare_entry(tmp_path, "demo", KEY, _never)
    assert not is_entry(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json: is missing"):
        prepare_entry(tmp_path, "demo", KEY, _never)


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: cannot write to the cache folder .*Choose a writable one"):
        prepare_entry(tmp_path / "file", "demo", KEY, _make)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    prepare_entry(cache, "demo", KEY, _make)
    cache.chmod(0o555)
    try:
        assert prepare_entry(cache, "demo", KEY, _never).facts == {"tokens": 5}
        with pytest.raises(DataError, match="cannot write to the cache folder"):
            prepare_entry(cache, "demo", {"other": 1}, _make)
    finally:
        cache.chmod(0o755)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def full(folder: Path) -> dict[str, object]:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"^no space left on /.*paths\.cache"):
        prepare_entry(tmp_path, "demo", KEY, full)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_stamps(tmp_path: Path) -> None:
    assert not is_stamped(tmp_path / "new", KEY)
    stamp(tmp_path / "new", KEY)
    assert is_stamped(tmp_path / "new", KEY)
    assert not is_stamped(tmp_path / "new", {"text": "abd"})
    (tmp_path / "file").touch()
    stamp(tmp_path / "file", KEY)  # it cannot be recorded, so the check is repeated
    assert not is_stamped(tmp_path / "file", KEY)


@pytest.mark.parametrize("name", ["../tokens.bin", "/etc/passwd", "a/tokens.bin", "9" * 300])
def test_a_manifest_that_names_a_file_elsewhere_or_none_at_all(name: str, tmp_path: Path) -> None:
    """A name that no file system allows must not reach it: asking for the file would raise OSError."""
    folder = prepare_entry(tmp_path, "demo", KEY, _make).folder
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"tokens.bin"', f'"{name}"'))
    with pytest.raises(DataError, match="damaged: it names files outside its own folder"):
        open_entry(folder)
