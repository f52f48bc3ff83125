"""The shard format: round trip, sizes and messages."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.data import shards
from pgolf.errors import DataError


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=300), st.integers(1, 100))
def test_what_is_written_is_read(ids: list[int], shard_tokens: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = shards.write_shards(Path(folder), "x_train", np.array(ids), shard_tokens)
        assert [path.name for path in paths] == [
            f"x_train_{index:06d}.bin" for index in range(-(-len(ids) // shard_tokens))
        ]
        assert np.concatenate([shards.read_shard(path) for path in paths]).tolist() == ids
        assert {path.name for path in Path(folder).iterdir()} == {path.name for path in paths}


def test_header_is_the_official_one(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / "a.bin", np.array([1, 2, 1023]))
    words = np.fromfile(tmp_path / "a.bin", dtype="<i4", count=256)
    assert words[:3].tolist() == [20240520, 1, 3]
    assert not words[3:].any()
    assert (tmp_path / "a.bin").stat().st_size == 1024 + 2 * 3


def test_a_read_shard_cannot_be_written_to(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / "a.bin", np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="read-only"):
        shards.read_shard(tmp_path / "a.bin")[0] = 5


def _shard(magic: int = 20240520, version: int = 1, count: int = 4, tokens: int = 4) -> bytes:
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, count
    return header.tobytes() + np.ones(tokens, "<u2").tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_shard(magic=7), r"bad\.bin: not a token shard \(magic number 7, expected 20240520\)\. Delete the file"),
        (_shard(version=2), "shard format version 2, but this program reads version 1"),
        (_shard(count=5), "1,032 bytes, but a header of 5 tokens means 1,034"),
        (_shard(tokens=9), "1,042 bytes, but a header of 4 tokens means 1,032"),
        (_shard(count=0, tokens=0), "the header declares 0 tokens"),
        (_shard(count=-3, tokens=0), "the header declares -3 tokens"),
        (b"", "only 0 bytes, shorter than a shard header"),
        (b"\x00" * 1023, "only 1,023 bytes"),
    ],
)
def test_damaged_shards_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        shards.read_shard(tmp_path / "bad.bin")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.bin: cannot be read \(No such file"):
        shards.read_shard(tmp_path / "none.bin")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([], "0 tokens"), ([65_536], "token 65536 does not fit 16 bits"), ([3, -1], "token -1 does not fit")],
)
def test_what_cannot_be_written(tmp_path: Path, tokens: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shards.write_shard(tmp_path / "a.bin", np.array(tokens, dtype=np.int64))
    assert not list(tmp_path.iterdir())


def test_ids_outside_the_vocabulary_are_found(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / "a.bin", np.array([5, 99, 100, 7]))
    assert shards.verify_shard(tmp_path / "a.bin", 101) == 4
    with pytest.raises(DataError, match="token 2 is 100, outside a vocabulary of 100"):
        shards.verify_shard(tmp_path / "a.bin", 100)


def test_huge_shards_are_fingerprinted_by_size_and_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "WHOLE_HASH_LIMIT_BYTES", 2**21)
    tokens = np.zeros(2 * 2**20, dtype=np.uint16)
    prints = set()
    for place in (None, 0, -1):
        changed = tokens.copy()
        if place is not None:
            changed[place] = 1
        shards.write_shard(tmp_path / "a.bin", changed)
        prints.add(shards.shard_sha256(tmp_path / "a.bin"))
    shards.write_shard(tmp_path / "a.bin", tokens[:-1])
    prints.add(shards.shard_sha256(tmp_path / "a.bin"))
    assert len(prints) == 4
