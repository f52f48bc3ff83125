"""The corpus that is shipped with the package: its file, its documents, and what a damaged installation says."""

from pathlib import Path

import pytest

from pgolf.data import addresses
from pgolf.data.addresses import Addresses, shipped_documents
from pgolf.data.loaded import load_corpus
from pgolf.errors import DataError


def test_the_documents_are_those_of_the_file() -> None:
    documents = shipped_documents()
    assert len(documents) == 249
    assert documents[0].name.startswith("1790-Washington")
    assert documents[-1].name.startswith("2026")
    assert sum(each.size_bytes for each in documents) > 12_000_000
    assert not any("[Applause" in each.text for each in documents)


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = addresses.TEXT.read_bytes()
    damaged = tmp_path / "addresses.jsonl.zst"
    monkeypatch.setattr(addresses, "TEXT", damaged)
    for content in (None, b"", whole[:1000], whole[:-9], b"\x00" * 1000):
        if content is not None:
            damaged.write_bytes(content)
        with pytest.raises(DataError, match="Install pgolf again"):
            shipped_documents()
    monkeypatch.setattr(addresses, "TEXT_SHA256", "0" * 64)
    damaged.write_bytes(whole)
    with pytest.raises(DataError, match="is not the file that pgolf shipped"):
        shipped_documents()


def test_a_corpus_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = shipped_documents()[::12]
    monkeypatch.setattr(addresses, "shipped_documents", lambda: few)
    corpus = load_corpus(Addresses(tmp_path, vocab_size=512, val_fraction=0.1, shuffle_seed=1).prepare())
    assert len(corpus.val_tokens) > 20_000
    again = load_corpus(Addresses(tmp_path, vocab_size=600, val_fraction=0.1, shuffle_seed=1).prepare())
    assert again.val_text_sha == corpus.val_text_sha, "one validation text for every vocabulary"
