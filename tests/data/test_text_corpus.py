"""The user's own text: files, folders, compressed files, refused input, two processes at once."""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from pgolf.data.checks import describe, verify
from pgolf.data.loaded import load_corpus
from pgolf.data.shards import read_shard
from pgolf.data.text import Text
from pgolf.data.tokenizer import decode_documents, load_tokenizer
from pgolf.errors import DataError, OptionError
from pgolf.slots import Corpus

TWO = """
import sys
from pathlib import Path
from pgolf.data.text import Text
corpus = Text(
    Path(sys.argv[1]), path=sys.argv[2], files="*", document_separator=None, vocab_size=400, val_fraction=0.1, shuffle_seed=None
).prepare()
print(corpus.tokenizer)
"""


def _text(cache: Path, path: Path, **changed: Any) -> Text:
    options = {
        "files": "*",
        "document_separator": None,
        "vocab_size": 400,
        "val_fraction": 0.1,
        "shuffle_seed": None,
        **changed,
    }
    return Text(cache, path=str(path), **options)


def _documents(corpus: Corpus, part: str) -> list[str]:
    paths = corpus.train_shards if part == "train" else corpus.val_shards
    tokens = np.concatenate([read_shard(path) for path in paths])
    return [text.decode() for text in decode_documents(load_tokenizer(corpus.tokenizer), tokens)]


def test_a_file(tmp_path: Path, sample_text: str) -> None:
    path = tmp_path / "book.txt"
    path.write_text(sample_text, encoding="utf-8")
    corpus = _text(tmp_path / "cache", path).prepare()
    verify(corpus)
    loaded = load_corpus(corpus)
    assert loaded.byte_table.vocab_size == 400
    val_bytes = sum(len(text.encode()) for text in _documents(corpus, "val"))
    assert val_bytes == loaded.val_bytes
    assert 0.08 < val_bytes / len(sample_text.encode()) < 0.2
    assert corpus.raw_val_bytes is not None
    assert corpus.raw_val_bytes >= val_bytes
    assert "published (no shuffle)" in "\n".join(describe(corpus))


def test_the_same_text_gives_the_same_corpus_and_is_not_made_twice(
    tmp_path: Path, sample_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shas = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(sample_text, encoding="utf-8")
        shas.append(load_corpus(_text(tmp_path / name, tmp_path / f"{name}.txt").prepare()).data_sha)
    assert shas[0] == shas[1]
    assert "preparing a corpus" in capsys.readouterr().err
    _text(tmp_path / "one", tmp_path / "two.txt", shuffle_seed=5).prepare()
    assert capsys.readouterr().err == ""


def test_validation_text_does_not_depend_on_the_tokenizer(tmp_path: Path, sample_text: str) -> None:
    (tmp_path / "book.txt").write_text(sample_text, encoding="utf-8")
    small, large = (
        load_corpus(_text(tmp_path, tmp_path / "book.txt", vocab_size=size).prepare()) for size in (350, 500)
    )
    assert small.val_text_sha == large.val_text_sha
    assert small.val_bytes == large.val_bytes
    assert small.data_sha != large.data_sha
    assert len(small.val_tokens) > len(large.val_tokens)


def test_a_folder_without_separators_has_a_document_per_file(tmp_path: Path, sample_text: str) -> None:
    folder = tmp_path / "books"
    (folder / "deep").mkdir(parents=True)
    parts = sample_text.split("\n\n")
    texts = ["\n\n".join(parts[start : start + 10]) for start in range(0, 150, 10)]
    for index, text in enumerate(texts[:12]):
        (folder / f"{index:02}.txt").write_text(text, encoding="utf-8")
    (folder / "deep" / "a.md").write_bytes(b"\xef\xbb\xbf" + texts[12].encode())
    (folder / "deep" / "b.txt.gz").write_bytes(gzip.compress(texts[13].encode()))
    (folder / "deep" / "c.txt.zst").write_bytes(zstandard.compress(texts[14].encode()))
    (folder / ".hidden").write_bytes(b"\xff")
    (folder / "empty.txt").touch()
    corpus = _text(tmp_path / "cache", folder, document_separator="stands nowhere").prepare()
    documents = [*_documents(corpus, "train"), *_documents(corpus, "val")]
    assert len(documents) == 15
    assert sum(map(len, documents)) <= len(sample_text)
    numbers = [{int(number) // 10 for number in re.findall(r"(\d+)\.", document)} for document in documents]
    assert sorted(numbers, key=min) == [{index} for index in range(15)]
    assert not any("\ufeff" in document for document in documents)
    verify(corpus)


def test_documents_of_one_file(tmp_path: Path) -> None:
    lines = [
        f"Story {index} is told in words such as {'very ' * (index % 7 + 1)}{index * 37} and then it ends."
        for index in range(30)
    ]
    path = tmp_path / "stories.txt"
    path.write_text(
        "\n---\n".join(f"{line}\n\nThe end of {index}." for index, line in enumerate(lines)), encoding="utf-8"
    )
    corpus = _text(tmp_path / "cache", path, document_separator="---", vocab_size=310, val_fraction=0.2).prepare()
    documents = [*_documents(corpus, "train"), *_documents(corpus, "val")]
    assert len(documents) == 30
    assert all(document.startswith("Story") for document in documents)
    assert len(_documents(corpus, "val")) >= 5


def test_a_text_without_blank_lines_is_cut_all_the_same(tmp_path: Path, sample_text: str) -> None:
    path = tmp_path / "lines.txt"
    path.write_text(sample_text.replace("\n\n", "\n"), encoding="utf-8")
    corpus = _text(tmp_path / "cache", path).prepare()
    assert len(_documents(corpus, "train")) > 1


def test_a_file_splits_alike_by_itself_and_in_a_folder(tmp_path: Path, sample_text: str) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "book.txt").write_text(sample_text, encoding="utf-8")
    alone = _text(tmp_path / "cache", folder / "book.txt").prepare()
    (folder / "cover.png").write_bytes(b"\x89PNG\x00\xff")
    assert _text(tmp_path / "cache", folder, files="*.txt").prepare() == alone
    with pytest.raises(
        DataError, match=r"cover\.png: not text, byte 4 is NUL\. .* data\.files, now \*, as in data\.files=\*\.txt"
    ):
        _text(tmp_path / "cache", folder).prepare()
    (folder / "more.md.gz").write_bytes(gzip.compress(sample_text[:9000].upper().encode()))
    both = _text(tmp_path / "cache", folder, files=["*.txt", "*.md"]).prepare()
    joined = "".join([*_documents(both, "train"), *_documents(both, "val")])
    assert "THE" in joined
    assert len(_documents(both, "train")) > len(_documents(alone, "train"))


@pytest.mark.parametrize("suffix", ["txt", "txt.gz", "txt.zst"])
def test_text_without_end_is_refused(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgolf.data.text.MAX_TEXT_BYTES", 10**6)
    pack = {"txt": bytes, "txt.gz": gzip.compress, "txt.zst": zstandard.compress}[suffix]
    for name, size in (("a", 10**5), ("b", 2 * 10**7)):
        (tmp_path / f"{name}.{suffix}").write_bytes(pack(b"x" * size))
    with pytest.raises(
        DataError, match=rf"b\.{suffix}: up to here the text has over 1,000,000 bytes, decompressed.*fit in memory"
    ):
        _text(tmp_path / "cache", tmp_path).prepare()


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_cut_packed_file_is_refused(suffix: str, tmp_path: Path, sample_text: str) -> None:
    packed = gzip.compress(sample_text.encode()) if suffix == "gz" else zstandard.compress(sample_text.encode())
    path = tmp_path / f"book.{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=rf"book\.{suffix}: cannot be read"):
        _text(tmp_path / "cache", path).prepare()


def test_zeros_and_pipes_are_not_text(tmp_path: Path) -> None:
    with (tmp_path / "zeros.txt").open("wb") as file:
        file.truncate(2 * 10**9)
    with pytest.raises(DataError, match=r"zeros\.txt: not text, byte 0 is NUL"):
        _text(tmp_path / "cache", tmp_path / "zeros.txt").prepare()
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(OptionError, match="it is not a file or folder"):
        _text(tmp_path / "cache", tmp_path / "pipe.txt")
    with pytest.raises(OptionError, match=r"none of the 1 files in .* matches; they end in \.txt"):
        _text(tmp_path / "cache", tmp_path, files="*.md")


@pytest.mark.parametrize(
    ("content", "suffix", "changed", "message"),
    [
        (b"fine \xe4 text", "txt", {}, r"book\.txt: not UTF-8 at byte 5 \(0xe4\)\. Convert it to UTF-8"),
        (b"", "txt", {}, "there is no text in it"),
        (b" \n\n \t", "txt", {}, "there is no text in it"),
        (b"just a line", "txt", {}, r"1 document\(s\) in the text"),
        (b"no zstd", "zst", {}, r"book\.zst: cannot be read"),
        (b"no gzip", "gz", {}, r"book\.gz: cannot be read \(Not a gzipped file"),
        (zstandard.compress(b"\xff"), "zst", {}, r"book\.zst: not UTF-8 at byte 0"),
        (
            b"one two three\n\nfour five six\n\nseven eight\n\nnine ten\n",
            "txt",
            {"vocab_size": 5000},
            "vocab_size 5000 is too large",
        ),
        (
            b"one two three\n\nfour five six\n\nseven eight\n\nnine ten\n",
            "txt",
            {"vocab_size": 261},
            "vocab_size 261 is too small",
        ),
    ],
)
def test_texts_that_are_refused(
    tmp_path: Path, content: bytes, suffix: str, changed: dict[str, Any], message: str
) -> None:
    path = tmp_path / f"book.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        _text(tmp_path / "cache", path, **changed).prepare()
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("path", "no/such/file", "/no/such/file does not exist; give an existing text file or folder"),
        ("path", "empty", "at least one text file in it"),
        ("vocab_size", 100, "give 261 to 65536"),
        ("val_fraction", -0.1, "above 0"),
        ("document_separator", " ", "null for blank lines"),
        ("document_separator", "a\nb", "null for blank lines"),
    ],
)
def test_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object, remedy: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    options: dict[str, Any] = {
        "path": "book.txt",
        "files": "*",
        "document_separator": None,
        "vocab_size": 300,
        "val_fraction": 0.1,
        "shuffle_seed": None,
        key: value,
    }
    with pytest.raises(OptionError, match=remedy) as caught:
        Text(tmp_path, **options)
    assert caught.value.key == key


def test_two_processes_at_once(tmp_path: Path, repo_root: Path, sample_text: str) -> None:
    path = tmp_path / "book.txt"
    path.write_text(sample_text, encoding="utf-8")
    command = [sys.executable, "-c", TWO, str(tmp_path / "cache"), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert sum("preparing a corpus" in errors for _, errors in outputs) == 1


def test_a_damaged_corpus_is_refused(tmp_path: Path, sample_text: str) -> None:
    (tmp_path / "book.txt").write_text(sample_text, encoding="utf-8")
    corpus = _text(tmp_path / "cache", tmp_path / "book.txt").prepare()
    shard = corpus.train_shards[0]
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"text_train_000000\.bin: damaged"):
        verify(corpus)
    swapped = dataclasses.replace(corpus, vocab_size=401)
    with pytest.raises(DataError, match="400 pieces, but vocab_size is 401"):
        load_corpus(swapped)
