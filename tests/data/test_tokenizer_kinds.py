"""For every kind of SentencePiece tokenizer, the byte table is exact, or the tokenizer or the text is refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import sentencepiece

from pgolf.data.tokenizer import ByteTable, check_text, decode_documents, tokenizer_from
from pgolf.errors import DataError

SPACE = "\u2581"
TRAINING = [
    "the stone walks under heavy clouds a 1 b 7 x <sep> 1887-12",
    "dashes leading and trailing in the middle of it x y z -",
    "中文 文字 emoji and tabs lines end",
    "of the and a river stone <sep> walks 1887",
] * 5
COMMON = {
    **{
        "vocab_size": 330,
        "hard_vocab_limit": False,
        "character_coverage": 1.0,
        "byte_fallback": True,
        "model_type": "bpe",
    },
    **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "minloglevel": 2},
}
TEXTS = [
    *("a 1 b \u2014 7 x", "  leading and trailing  ", "中文 文字 と かな 漢字", "emoji 😀 and 🧑\u200d🚀!"),
    *(
        "\ufb01ne \uff26\uff55\uff4c\uff4c ½ İstanbul STRASSE",
        "tabs\tand\nlines\n\nend",
        "dashes \u2013 \u2014 - 1887-12",
        "x",
        " ",
        "",
    ),
    *("<sep> in <sep>the middle of", "\u2581\u2581block \u2581", "repl \ufffd é"),
]
# Of known characters.
KNOWN = ["the stone walks", "  heavy  clouds ", "中文 文字", "x", "1887-12 - 1887", "", "it in the middle"]
OPEN = {"add_dummy_prefix": False, "remove_extra_whitespaces": False}
WITHOUT_BYTES = {"byte_fallback": False, "vocab_size": 80}
KINDS: dict[str, dict[str, Any]] = {
    "bpe": {},
    "unigram": {"model_type": "unigram"},
    "characters": {"model_type": "char"},
    "as the challenge's": {"add_dummy_prefix": False, "split_digits": True, "normalization_rule_name": "nmt_nfkc"},
    "no dummy prefix": {"add_dummy_prefix": False},
    "spaces kept": {"remove_extra_whitespaces": False},
    "spaces kept, no dummy prefix": OPEN,
    "pieces of spaces alone": {"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True},
    "pieces across spaces": {"split_by_whitespace": False, "vocab_size": 400},
    "spaces at the end of pieces, no dummy": {"treat_whitespace_as_suffix": True, "add_dummy_prefix": False},
    "identity": {"normalization_rule_name": "identity"},
    "identity, spaces kept, no dummy prefix": {"normalization_rule_name": "identity", **OPEN},
    "nfkc": {"normalization_rule_name": "nfkc"},
    "nmt_nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf"},
    "user-defined symbols": {"user_defined_symbols": ["<sep>", "\n", "▁the"]},
    "control symbols": {"control_symbols": ["<ctl>"]},
}
OF_KNOWN_TEXT: dict[str, dict[str, Any]] = {
    "words": {"model_type": "word", **WITHOUT_BYTES},
    "characters, no bytes": {"model_type": "char", **WITHOUT_BYTES},
    "unigram, no bytes": {"model_type": "unigram", **WITHOUT_BYTES},
    "bpe, no bytes": WITHOUT_BYTES,
}


@cache
def trained(name: str) -> sentencepiece.SentencePieceProcessor:
    return tokenizer_from(model_of({**KINDS, **OF_KNOWN_TEXT}[name]), name)


def model_of(settings: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    training = [*TRAINING, *KNOWN * 2] if settings.get("model_type") == "word" else TRAINING
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for line in training if line.strip()), model_writer=buffer, **{**COMMON, **settings}
    )
    return buffer.getvalue()


def meant(tokenizer: sentencepiece.SentencePieceProcessor, text: str, *, dummy: bool) -> bytes:
    """A text after the tokenizer's normalisation, without the dummy prefix. Uses neither decoding nor the table."""
    normal = str(tokenizer.normalize(text))
    return (normal.removeprefix(SPACE) if dummy else normal).replace(SPACE, " ").encode()


def documents_of(tokenizer: sentencepiece.SentencePieceProcessor, texts: list[str]) -> list[np.ndarray]:
    return [np.array([tokenizer.bos_id(), *tokenizer.encode(text)], dtype=np.uint16) for text in texts]


def assert_counted(tokenizer: sentencepiece.SentencePieceProcessor, texts: list[str], *, dummy: bool) -> None:
    documents = documents_of(tokenizer, texts)
    expected = [meant(tokenizer, text, dummy=dummy) for text in texts]
    table = ByteTable.of(tokenizer)
    assert [table.total_bytes(tokens) for tokens in documents] == [len(text) for text in expected]
    tokens = np.concatenate(documents)
    assert check_text(tokenizer, tokens, "texts")[0] == sum(map(len, expected))
    assert list(decode_documents(tokenizer, tokens)) == expected


@pytest.mark.parametrize("name", KINDS)
def test_any_text_is_counted(name: str) -> None:
    assert_counted(trained(name), TEXTS, dummy=KINDS[name].get("add_dummy_prefix", True))


def test_nothing_is_lost_where_nothing_is_normalised() -> None:
    assert_counted(tokenizer := trained("identity, spaces kept, no dummy prefix"), TEXTS, dummy=False)
    tokens = np.concatenate(documents_of(tokenizer, TEXTS))
    assert check_text(tokenizer, tokens, "texts")[0] == sum(len(text.replace(SPACE, " ").encode()) for text in TEXTS)


@pytest.mark.parametrize("name", OF_KNOWN_TEXT)
def test_without_byte_pieces_known_text_is_counted_and_other_text_refused(name: str) -> None:
    assert_counted(trained(name), KNOWN, dummy=True)
    with pytest.raises(DataError, match=r"texts: \d+ of \d+ tokens are the unknown piece"):
        check_text(trained(name), np.concatenate(documents_of(trained(name), [*KNOWN, "é"])), "texts")


def test_control_pieces_end_a_text_and_stand_for_none() -> None:
    tokenizer = trained("control symbols")
    control, eos, pad = tokenizer.piece_to_id("<ctl>"), tokenizer.eos_id(), tokenizer.pad_id()
    first, second = (tokenizer.encode(text) for text in ("the stone", "walks — x"))
    tokens = np.array([1, *first, eos, 1, *first, control, *second, pad, pad, 1, *second], dtype=np.uint16)
    assert [text.decode() for text in decode_documents(tokenizer, tokens)] == [
        "the stone",
        "the stonewalks — x",
        "walks — x",
    ]
    assert check_text(tokenizer, tokens, "tokens")[0] == 2 * 9 + 2 * 11


def without_space_piece() -> bytes:
    """A model in which the piece of a single space has another name, as in a vocabulary that was pruned."""
    model = model_of({"add_dummy_prefix": False})
    lone = b"\x0a\x03\xe2\x96\x81\x15"  # a piece's text, three bytes long, and the tag of its score
    assert model.count(lone) == 1
    return model.replace(lone, b"\x0a\x03~~~\x15")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (without_space_piece, "odd: it has no piece for a single space, and spells one as three byte tokens"),
        (
            lambda: model_of({"treat_whitespace_as_suffix": True}),
            r"odd: its text '\w+' is decoded as '\w+ ', so bytes per token",
        ),
    ],
    ids=["a space is three bytes", "dummy suffix"],
)
def test_tokenizers_that_no_table_can_count(model: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tokenizer_from(model(), "odd")


def test_a_table_that_is_wrong_for_one_document_is_refused_whatever_the_sum() -> None:
    """A tokenizer that encodes some spaces as bytes is refused for a text with such a space, and for no other text."""
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=without_space_piece())
    lucky, unlucky = documents_of(tokenizer, ["the and the", "a 1 b \u2014 7 x"])
    assert check_text(tokenizer, lucky, "lucky")[0] == 11
    with pytest.raises(
        DataError,
        match=r"part: the byte table counts 1\d bytes in document 1, its decoded text has 13 \('a 1 b — 7 x'\)",
    ):
        check_text(tokenizer, np.concatenate([lucky, unlucky]), "part")


def test_errors_that_cancel_out_over_the_documents_are_seen() -> None:
    tokenizer = trained("spaces kept")
    tokens = np.concatenate(documents_of(tokenizer, ["the stone", "walks"]))
    right = ByteTable.of(tokenizer)
    base = right.base_bytes.copy()
    base[tokens[1]] += 1
    base[tokens[-1]] -= 1
    wrong = ByteTable(base, right.has_leading_space, right.is_boundary)
    assert wrong.total_bytes(tokens) == right.total_bytes(tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ByteTable, "of", staticmethod(lambda _: wrong))
        with pytest.raises(
            DataError, match="part: the byte table counts 10 bytes in document 0, its decoded text has 9"
        ):
            check_text(tokenizer, tokens, "part")
