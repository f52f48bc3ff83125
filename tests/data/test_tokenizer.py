"""Tokenizers and the byte table: exact on any text, on any tokens, and on the official files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgolf.data.prepare.bpe import train_bpe
from pgolf.data.shards import read_shard
from pgolf.data.tokenizer import (
    ByteTable,
    check_text,
    decode_documents,
    encode_documents,
    load_tokenizer,
    load_tokenizer_of_size,
    tokenizer_from,
)
from pgolf.errors import DataError

Processor = sentencepiece.SentencePieceProcessor
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t\u2581\ufffd\u3000ae9"), max_size=60),
    max_size=5,
)


def test_official_facts(shared_data: Path) -> None:
    tokenizer = load_tokenizer_of_size(shared_data / "fineweb_1024_bpe.model", 1024)
    table = ByteTable.of(tokenizer)
    tokens = read_shard(shared_data / "english_sp1024" / "fineweb_val_slice_000000.bin")
    assert (len(tokens) - 1, table.total_bytes(tokens)) == (65_535, 159_909)
    count = (len(tokens) - 1) // 1024 * 1024
    assert (count, int(table.bytes_per_target(tokens[: count + 1]).sum())) == (64_512, 157_637)
    assert check_text(tokenizer, np.asarray(tokens), "slice")[0] == 159_909
    assert int(table.has_leading_space.sum()) == 325
    assert int(table.is_boundary.sum()) == 4


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS)
def test_table_counts_the_decoded_bytes_of_any_text(tokenizer: Processor, texts: list[str]) -> None:
    encoded = encode_documents(tokenizer, texts)
    tokens = np.concatenate([*encoded, np.array([1], np.uint16)])
    decoded = list(decode_documents(tokenizer, tokens))
    assert ByteTable.of(tokenizer).total_bytes(tokens) == sum(map(len, decoded))
    check_text(tokenizer, tokens, "texts")
    for text, actual in zip(texts, decoded, strict=False):
        normal = tokenizer.normalize(text.replace("\u2581", " ")).replace("\u2581", " ").encode()
        assert actual == normal
        assert 3 not in encode_documents(tokenizer, [text])[0]  # byte fallback: never the unknown piece


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(st.integers(0, 399).filter(lambda index: index != 3), min_size=1, max_size=40))
@example(ids=[36, 132])  # a space and half a character, both as bytes
def test_table_counts_the_decoded_bytes_of_any_tokens(tokenizer: Processor, ids: list[int]) -> None:
    check_text(tokenizer, np.array(ids, np.uint16), "tokens")


def test_many_documents_decode_one_by_one(tokenizer: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgolf.data.tokenizer._CHUNK_TOKENS", 7)
    texts = [f"the {number} stone" * (number % 5) for number in range(40)]
    tokens = np.concatenate(encode_documents(tokenizer, texts))
    assert [text.decode() for text in decode_documents(tokenizer, tokens)] == texts
    table = ByteTable.of(tokenizer)
    assert table.total_bytes(tokens) == int(table.bytes_per_target(tokens).sum()) == sum(map(len, texts))


def test_unknown_pieces_are_refused(tokenizer: Processor) -> None:
    with pytest.raises(DataError, match=r"part: 2 of 5 tokens are the unknown piece.*byte_fallback"):
        check_text(tokenizer, np.array([1, 3, 300, 3, 301]), "part")


def test_training_is_deterministic_and_has_the_official_settings(sample_text: str) -> None:
    model = train_bpe(sample_text.split("\n\n"), 400, "sample")
    assert model == train_bpe(sample_text.split("\n\n"), 400, "sample")
    tokenizer = tokenizer_from(model, "sample")
    special = (
        tokenizer.pad_id(),
        tokenizer.bos_id(),
        tokenizer.eos_id(),
        tokenizer.unk_id(),
        tokenizer.get_piece_size(),
    )
    assert special == (0, 1, 2, 3, 400)
    assert [tokenizer.is_byte(index) for index in (3, 4, 259, 260)] == [False, True, True, False]
    assert not any("\u2581" in tokenizer.id_to_piece(index)[1:] for index in range(400))
    assert tokenizer.decode(tokenizer.encode("a  b\n c")) == "a b c"
    assert len(tokenizer.encode("1887")) == 4


@pytest.mark.parametrize(
    ("sentences", "vocab_size", "message"),
    [
        (
            ["a few words only, said twice, a few words only"],
            1024,
            r"book\.txt: vocab_size 1024 is too large.*at most \d+",
        ),
        (
            ["a few words only, said twice, a few words only"],
            262,
            r"book\.txt: vocab_size 262 is too small.*at least 2\d\d",
        ),
        ([" ", ""], 300, r"book\.txt: there is no text"),
        (["\u0000"], 300, r"book\.txt: SentencePiece cannot train"),
    ],
)
def test_texts_that_cannot_train_a_tokenizer(sentences: list[str], vocab_size: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        train_bpe(sentences, vocab_size, "book.txt")


def test_files_that_are_not_tokenizers(tmp_path: Path, sample_text: str) -> None:
    for name, content in (
        ("empty.model", b""),
        ("text.model", b"abc"),
        ("half.model", train_bpe([sample_text[:3000]], 300, "x")[:5000]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: not a SentencePiece model"):
            load_tokenizer(tmp_path / name)
    with pytest.raises(DataError, match=r"none\.model: cannot read the tokenizer"):
        load_tokenizer(tmp_path / "none.model")


def test_a_tokenizer_of_another_size(tmp_path: Path, tokenizer: Processor) -> None:
    (tmp_path / "t.model").write_bytes(tokenizer.serialized_model_proto())
    with pytest.raises(DataError, match=r"400 pieces, but vocab_size is 1024\. Set data\.vocab_size"):
        load_tokenizer_of_size(tmp_path / "t.model", 1024)
