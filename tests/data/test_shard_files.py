"""A corpus of existing shards; loading and checking any corpus."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from pgolf.data.checks import describe, verify
from pgolf.data.loaded import load_corpus
from pgolf.data.shard_files import ShardFiles
from pgolf.data.shards import file_sha256, token_count, write_shard
from pgolf.data.tokenizer import encode_documents, load_tokenizer, tokenizer_from
from pgolf.errors import DataError, OptionError


@pytest.fixture
def folder(tmp_path: Path, tokenizer: sentencepiece.SentencePieceProcessor, sample_text: str) -> Path:
    tokens = np.concatenate(encode_documents(tokenizer, sample_text.split("\n\n")))
    for name, part in (
        ("x_train_000001", tokens[2000:9000]),
        ("x_train_000000", tokens[:2000]),
        ("x_val_000000", tokens[9000:]),
    ):
        write_shard(tmp_path / f"{name}.bin", part)
    (tmp_path / "t.model").write_bytes(tokenizer.serialized_model_proto())
    return tmp_path


def _options(folder: Path, **changed: object) -> dict[str, Any]:
    options = {
        "train_glob": f"{folder}/x_train_*.bin",
        "val_glob": f"{folder}/x_val_*.bin",
        "tokenizer": f"{folder}/t.model",
    }
    return {**options, "vocab_size": 400, "shuffle_seed": None, **changed}


def test_shards_are_taken_in_lexicographic_order(folder: Path) -> None:
    corpus = ShardFiles(folder / "cache", **_options(folder)).prepare()
    assert [path.name for path in corpus.train_shards] == ["x_train_000000.bin", "x_train_000001.bin"]
    assert corpus.raw_val_bytes is None
    loaded = load_corpus(corpus)
    assert [len(array) for array in loaded.train] == [2000, 7000]
    assert loaded.train_tokens == 9000
    assert not isinstance(loaded.val_tokens, np.memmap)
    verify(corpus)
    assert "not known (shards only)" in "\n".join(describe(corpus))


def test_identity_does_not_depend_on_place_but_on_content(folder: Path) -> None:
    first = load_corpus(ShardFiles(folder, **_options(folder)).prepare())
    moved = folder / "moved"
    moved.mkdir()
    for path in [*folder.glob("x_*.bin"), folder / "t.model"]:
        (moved / path.name).write_bytes(path.read_bytes())
    second = load_corpus(ShardFiles(folder, **_options(moved)).prepare())
    assert (first.data_sha, first.val_text_sha) == (second.data_sha, second.val_text_sha)
    write_shard(moved / "x_train_000000.bin", np.array([1, 300]))
    third = load_corpus(ShardFiles(folder, **_options(moved)).prepare())
    assert third.data_sha != first.data_sha
    assert third.val_text_sha == first.val_text_sha


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("train_glob", "none_*.bin", "it does not match any file"),
        ("val_glob", "none_*.bin", "it does not match any file"),
        ("val_glob", "x_*.bin", "it also matches training shards"),
        ("tokenizer", "none.model", "the file does not exist"),
        ("vocab_size", 1, "2 to 65536"),
        ("vocab_size", 399, r"t\.model has 400 pieces; set data\.vocab_size=400"),
    ],
)
def test_options(folder: Path, key: str, value: object, remedy: str) -> None:
    argument = f"{folder}/{value}" if isinstance(value, str) else value
    with pytest.raises(OptionError, match=remedy) as caught:
        ShardFiles(folder, **_options(folder, **{key: argument}))
    assert caught.value.key == key


def test_what_prepare_refuses(folder: Path) -> None:
    data = ShardFiles(folder, **_options(folder))
    data.prepare()  # recorded as checked, but a changed file is checked again
    write_shard(folder / "x_train_000001.bin", np.array([5, 400, 7]))
    with pytest.raises(DataError, match=r"x_train_000001\.bin: token 1 is 400, outside a vocabulary of 400"):
        data.prepare()
    (folder / "x_train_000001.bin").write_bytes(b"0" * 2000)
    with pytest.raises(DataError, match="not a token shard"):
        data.prepare()
    (folder / "t.model").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        data.prepare()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.model", b"nonsense", r"t\.model: not a SentencePiece model \(8 bytes\)"),
        ("x_train_000001.bin", b"0" * 2000, r"x_train_000001\.bin: not a token shard"),
        ("x_val_000000.bin", b"", r"x_val_000000\.bin: only 0 bytes"),
    ],
)
def test_damaged_files_are_refused_before_anything_is_prepared(
    folder: Path, name: str, content: bytes, message: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        ShardFiles(folder / "cache", **_options(folder))


@pytest.mark.parametrize("name", ["t.model", "x_val_000000.bin"])
def test_two_gigabytes_of_zeros_are_refused_at_once(folder: Path, name: str) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(2 * 10**9)
    with pytest.raises(
        DataError, match=rf"{name}: (not a token shard|cannot read the tokenizer, it has 2,000,000,000 bytes)"
    ):
        ShardFiles(folder / "cache", **_options(folder))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_pipes_and_folders_are_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.bin")
    for read in (token_count, file_sha256, load_tokenizer):
        with pytest.raises(DataError, match=r"a\.bin: cannot (be )?read"):
            read(tmp_path / "a.bin")


def test_a_cut_tokenizer_is_refused_or_whole(folder: Path) -> None:
    model = (folder / "t.model").read_bytes()
    for size in range(0, len(model), len(model) // 40):
        with pytest.raises(DataError, match="not a SentencePiece model"):
            tokenizer_from(model[:size], "cut")


def test_the_same_files_are_checked_once_in_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_corpus(ShardFiles(folder, **_options(folder)).prepare())
    with monkeypatch.context() as patch:
        patch.setattr("pgolf.data.loaded.check_text", None)  # a call would fail
        again = load_corpus(ShardFiles(folder, **_options(folder, shuffle_seed=7)).prepare())
    assert again.val_tokens is first.val_tokens
    assert (first.corpus.shuffle_seed, again.corpus.shuffle_seed) == (None, 7)
    write_shard(folder / "x_val_000000.bin", np.array([1, 300, 301]))
    assert len(load_corpus(ShardFiles(folder, **_options(folder)).prepare()).val_tokens) == 3


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([5], r"1 validation token\(s\)"),
        ([1, 1, 1], "decode to an empty text"),
        ([1, 3, 300], "1 of 3 tokens are the unknown piece"),
    ],
)
def test_validation_that_cannot_be_scored(folder: Path, tokens: list[int], message: str) -> None:
    write_shard(folder / "x_val_000000.bin", np.array(tokens))
    corpus = ShardFiles(folder, **_options(folder)).prepare()
    with pytest.raises(DataError, match=message):
        load_corpus(corpus)


def test_official_sample(shared_data: Path, tmp_path: Path) -> None:
    sample = shared_data / "english_sp1024"
    options = {"train_glob": f"{sample}/english_train_*.bin", "val_glob": f"{sample}/fineweb_val_*.bin"}
    data = ShardFiles(
        tmp_path, **options, tokenizer=str(shared_data / "fineweb_1024_bpe.model"), vocab_size=1024, shuffle_seed=None
    )
    loaded = load_corpus(data.prepare())
    assert (len(loaded.val_tokens) - 1, loaded.val_bytes) == (65_535, 159_909)
