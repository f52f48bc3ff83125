"""The split of training and validation text: planted copies are found, random text has none."""

import time
from typing import Any

import numpy as np
import pytest

from pgolf.audit import Verdict, data, split
from pgolf.errors import PgolfError

BOS = 1


def text(seed: int, documents: int, length: int = 200) -> np.ndarray:
    """Random documents, each BOS and 50 to `length` ids of 2..1023, uint16."""
    draw = np.random.default_rng(seed)
    parts = [np.concatenate([[BOS], draw.integers(2, 1024, draw.integers(50, length))]) for _ in range(documents)]
    return np.concatenate(parts).astype(np.uint16)


def document(tokens: np.ndarray, number: int) -> np.ndarray:
    starts = [*np.flatnonzero(tokens == BOS), len(tokens)]
    return tokens[starts[number] : starts[number + 1]]


def test_a_clean_split_passes_and_says_how_much_was_compared() -> None:
    train, val = text(1, 300), text(2, 40)
    windows, documents = split(train, val, document_start=BOS)
    assert windows.verdict == documents.verdict == Verdict.PASS
    assert f"{len(train):,} training tokens, {len(val):,} validation tokens" in windows.evidence
    assert documents.evidence == "300 training documents, 40 validation documents"


@pytest.mark.parametrize("number", [0, 17, 39])
def test_a_validation_document_in_the_training_tokens(number: int) -> None:
    train, val = text(1, 300), text(2, 40)
    copy = document(val, number)
    shards = [train[:9000], copy, train[9000:]] if train[9000] == BOS else [train, copy]
    windows, documents = split(shards, val, document_start=BOS)
    assert windows.verdict == documents.verdict == Verdict.FAIL
    assert documents.data["shared_documents"] == 1
    assert f"({len(copy) - 1:,} tokens)" in documents.evidence or len(copy) < 64
    assert windows.data["shared_windows"] >= len(copy) - 64


def test_a_document_that_goes_over_the_edge_of_two_shards() -> None:
    train, val = text(1, 30), text(2, 10)
    copy = document(val, 3)
    for cut in (1, 30, len(copy) - 1):
        windows, documents = split([np.append(train, copy[:cut]), copy[cut:]], val, document_start=BOS)
        assert (windows.verdict, documents.verdict) == (Verdict.FAIL, Verdict.FAIL), cut


def test_short_documents_are_left_out_and_a_text_without_its_first_start_is_compared() -> None:
    train, val = text(1, 30), text(2, 10)
    date, letter = (np.arange(BOS, BOS + size, dtype=np.uint16) for size in (16, 17))
    windows, documents = split([train, date], np.concatenate([date, val]), document_start=BOS)
    assert (windows.verdict, documents.verdict) == (Verdict.PASS, Verdict.PASS)
    assert "11 validation documents, 1 of them shorter than 16 tokens" in documents.evidence
    windows, documents = split([train, letter], np.concatenate([letter[1:], val]), document_start=BOS)
    assert (windows.verdict, documents.verdict) == (Verdict.PASS, Verdict.FAIL)


@pytest.mark.parametrize("cut", [None, 1, 31, 63])
def test_one_window_in_the_middle(cut: int | None) -> None:
    train, val = text(1, 300), text(2, 40)
    copy = val[1234 : 1234 + 64]
    at = 5000
    shards = [np.concatenate([train[:at], copy, train[at:]])]
    shards = shards if cut is None else [shards[0][: at + cut], shards[0][at + cut :]]
    windows, documents = split(shards, val, document_start=BOS)
    assert (windows.verdict, documents.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert windows.data["shared_windows"] == 1
    assert windows.data["shared_val_tokens"] == 64
    assert f"training token {at:,} on is validation token 1,234 on" in windows.evidence


def test_63_of_64_tokens_are_not_a_window() -> None:
    train, val = text(1, 300), text(2, 40)
    copy = val[1234 : 1234 + 63]
    around = np.concatenate([train[:5000], [1500], copy, [1500], train[5000:]])
    assert not split(around, val).failed
    assert split(around, val, window=63).failed


def test_blocks_of_a_long_array_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BLOCK_TOKENS", 128)
    train, val = text(1, 30), text(2, 10)
    whole = np.concatenate([train[:1000], val[300:364], train[1000:]])
    windows, documents = split(whole, val, document_start=BOS)
    assert windows.data["shared_windows"] == windows.data["train_windows"] == 1
    assert documents.data["train_documents"] == 30 + int((val[300:364] == BOS).sum())


def test_equal_hashes_of_different_windows_are_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def constant(tokens: np.ndarray, window: int) -> np.ndarray:
        return np.zeros(max(len(tokens) - window + 1, 0), np.uint64)

    monkeypatch.setattr(data, "_hashes", constant)
    assert not split(text(1, 30), text(2, 1, 60)[:64]).failed


@pytest.mark.parametrize("dtype", [np.int16, np.uint64])
def test_tokens_of_any_integer_type_are_compared(dtype: type) -> None:
    val = text(2, 10).astype(dtype)
    windows, documents = split(text(1, 30), val, document_start=BOS)
    assert windows.verdict == documents.verdict == Verdict.PASS
    windows, documents = split([text(1, 30), val.astype(np.int32)], val, document_start=BOS)
    assert windows.verdict == documents.verdict == Verdict.FAIL


def test_what_cannot_be_compared_is_not_checked() -> None:
    documents = split(text(1, 30), text(2, 10), document_start=7777).checks[1]
    assert (documents.verdict, "7777 is in none" in documents.evidence) == (Verdict.NOT_CHECKED, True)
    windows, documents = split(text(1, 30), text(2, 1)[:20])
    assert windows.verdict == documents.verdict == Verdict.NOT_CHECKED


@pytest.mark.parametrize(
    ("train", "val", "window", "message"),
    [
        (np.ones(9), text(2, 1), 64, "train_tokens: needs arrays of integers"),
        ([text(1, 1), "shard"], text(2, 1), 64, "train_tokens: needs arrays"),
        (text(1, 1), np.ones((2, 2), int), 64, "val_tokens: needs arrays"),
        (np.empty(0, int), text(2, 1), 64, "train_tokens: holds no token"),
        (text(1, 1), [], 64, "val_tokens: holds no token"),
        (text(1, 1), text(2, 1), 0, "window: cannot be 0; choose"),
        (text(1, 1), text(2, 1), True, "window: cannot be True; choose"),
        (None, text(2, 1), 64, "train_tokens: cannot be None; give numpy arrays"),
        ("ab", text(2, 1), 64, "train_tokens: cannot be 'ab'; give numpy arrays"),
    ],
)
def test_unusable_tokens_are_refused(train: Any, val: Any, window: int, message: str) -> None:
    with pytest.raises(PgolfError, match=message):
        split(train, val, window=window)
    with pytest.raises(PgolfError, match="document_start: cannot be '1'"):
        split(text(1, 1), text(2, 1), document_start="1")  # type: ignore[arg-type]


def test_a_million_tokens_take_about_a_second() -> None:
    draw = np.random.default_rng(0)
    train, val = (draw.integers(2, 1024, n).astype(np.uint16) for n in (1_000_000, 140_000))
    began = time.process_time()
    assert not split(train, val, document_start=BOS).failed
    assert time.process_time() - began < 10
