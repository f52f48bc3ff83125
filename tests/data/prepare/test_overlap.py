"""Finding and removing windows that training and validation share, compared with naive sets."""

from __future__ import annotations

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.data.prepare import overlap
from pgolf.data.prepare.documents import Document, deduplicate, document, split
from pgolf.data.prepare.overlap import shared_windows, window_hashes
from pgolf.data.prepare.pipeline import WINDOW_TOKENS, encode_aloud, remove_overlap
from pgolf.data.tokenizer import encode_documents
from pgolf.errors import DataError

IDS = st.lists(st.integers(0, 2) | st.integers(0, 65_535), max_size=80)


def naive_windows(tokens: np.ndarray, window: int) -> list[bytes]:
    data = np.ascontiguousarray(tokens, dtype=np.uint16).tobytes()
    return [data[2 * start : 2 * (start + window)] for start in range(len(tokens) - window + 1)]


@settings(deadline=None, max_examples=300)
@given(haystack=IDS, needles=IDS, window=st.integers(1, 9))
def test_shared_windows_are_those_of_a_naive_search(haystack: list[int], needles: list[int], window: int) -> None:
    hay, need = np.array(haystack, np.uint16), np.array(needles, np.uint16)
    wanted = set(naive_windows(need, window))
    expected = [start for start, each in enumerate(naive_windows(hay, window)) if each in wanted]
    assert shared_windows(hay, need, window).tolist() == expected


def test_blocks_do_not_hide_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_BLOCK_TOKENS", 10)
    hay = np.arange(100, dtype=np.uint16)
    assert shared_windows(hay, hay[3:90], 7).tolist() == list(range(3, 84))


def test_hashes_depend_on_order_and_on_every_token() -> None:
    tokens = np.random.default_rng(0).integers(0, 1000, 64)
    seen = {int(window_hashes(tokens, 64)[0]), int(window_hashes(tokens[::-1], 64)[0])}
    for place in range(64):
        changed = tokens.copy()
        changed[place] ^= 1
        seen.add(int(window_hashes(changed, 64)[0]))
    assert len(seen) == 66


def test_no_window_is_left_and_validation_stays(
    tokenizer: sentencepiece.SentencePieceProcessor, sample_text: str
) -> None:
    """With near-duplicate paragraphs on both sides, a naive search then finds no shared window of 64 tokens."""
    documents, _ = deduplicate(
        document(f"{index}", "\n\n".join(sample_text.split("\n\n")[index * 5 : index * 5 + 5])) for index in range(30)
    )
    train, val = split(documents, 0.2, "sample")
    val_tokens = np.concatenate(encode_documents(tokenizer, [each.text for each in val]))
    wanted = set(naive_windows(val_tokens, WINDOW_TOKENS))
    before = np.concatenate(encode_documents(tokenizer, [each.text for each in train]))
    assert wanted & set(naive_windows(before, WINDOW_TOKENS))
    remaining, encoded, removed = remove_overlap(tokenizer, train, val_tokens)
    after = np.concatenate(encoded)
    assert not wanted & set(naive_windows(after, WINDOW_TOKENS))
    units = {unit for each in train for unit in each.units}
    assert removed == len(units) - len({unit for each in remaining for unit in each.units})
    assert 0 < removed < len(units) / 2
    assert after.tolist() == np.concatenate(encode_documents(tokenizer, [each.text for each in remaining])).tolist()


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(st.sampled_from("ab \n\t\r"), max_size=200)
    | st.text(st.sampled_from("abc "), min_size=1500, max_size=4000)
)
def test_units_join_to_the_text(text: str) -> None:
    units = document("a", text).units
    assert "".join(units) == text
    assert all(len(unit.rstrip()) <= 1000 for unit in units)


def test_units_end_at_blank_lines_else_lines_else_spaces() -> None:
    assert document("a", "one\ntwo\n\n\nthree\r\n \r\nfour").units == ("one\ntwo\n\n\n", "three\r\n \r\n", "four")
    assert [len(unit) for unit in document("a", "x" * 700 + "\n" + "y" * 700).units] == [701, 700]
    assert [len(unit) for unit in document("a", "x" * 700 + " " + "y" * 700).units] == [701, 700]
    assert [len(unit) for unit in document("a", "x" * 2100).units] == [1000, 1000, 100]
    assert document("a", "lone \ud800 surrogate").text == "lone  surrogate"


def test_repeated_units_are_kept_once() -> None:
    unique, removed = deduplicate(
        [document("a", "one\n\ntwo\n\n one "), document("b", "two\n\n  one"), document("c", "two\n\nthree")]
    )
    assert unique == [Document("a", ("one\n\n", "two\n\n ")), Document("c", ("three",))]
    assert removed == 4


@settings(deadline=None, max_examples=200)
@given(sizes=st.lists(st.integers(1, 500), min_size=2, max_size=40), fraction=st.floats(0.01, 0.5))
def test_split_is_a_partition_near_the_fraction(sizes: list[int], fraction: float) -> None:
    documents = [document(f"{index}", "x" * size) for index, size in enumerate(sizes)]
    train, val = split(documents, fraction, "x")
    assert train
    assert val
    assert sorted([*train, *val], key=lambda each: int(each.name)) == documents
    limit = max(fraction * sum(sizes) / 4, sorted(sizes)[(len(sizes) - 1) // 2])
    assert sum(each.size_bytes for each in val) <= fraction * sum(sizes) + limit
    assert split(documents, fraction, "x") == (train, val)


def test_split_follows_names_not_contents() -> None:
    names = [f"file{index}" for index in range(50)]
    one = split([document(name, "x" * 100) for name in names], 0.2, "x")[1]
    two = split([document(name, "y" * 100) for name in names], 0.2, "x")[1]
    assert [each.name for each in one] == [each.name for each in two]
    assert len(one) == 10


def test_one_document_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"book\.txt: 1 document\(s\) in the text"):
        split([document("a", "x")], 0.1, "book.txt")


def test_encoding_says_its_progress_and_changes_no_token(
    tokenizer: sentencepiece.SentencePieceProcessor, sample_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = sample_text.split("\n\n")[:10]
    for some, said in ((texts, ["20%", "40%", "60%", "80%", "100%"]), (texts[:2], ["50%", "100%"]), ([], [])):
        encoded = encode_aloud(tokenizer, some)
        assert [each.tolist() for each in encoded] == [each.tolist() for each in encode_documents(tokenizer, some)]
        assert capsys.readouterr().err.splitlines() == [f"  encoded {share}" for share in said]
