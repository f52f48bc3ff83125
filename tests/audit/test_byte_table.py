"""Byte tables and window plans: one planted defect per finding, and clean ones without a finding."""

import io
from functools import cache
from typing import Any

import numpy as np
import pytest
import sentencepiece

from pgolf.audit import Verdict, byte_table, windows
from pgolf.errors import PgolfError

TEXTS = [
    "the cat sat on the mat. 12 cats, ä dog",
    "naïve café — “quotes” 日本語 😀 end",
    "a b  c\nd",
    "don't stop 2026",
]
BOS = 1


@cache
def tokenizer() -> sentencepiece.SentencePieceProcessor:
    """As in the challenge: byte fallback, split digits, no dummy prefix."""
    model = io.BytesIO()
    sentences = [
        "the cat sat on the mat",
        "a dog and a cat don't stop",
        "12 cats and 7 dogs, end.",
        "quotes end there",
    ] * 9
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=330,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        pad_id=0,
        bos_id=BOS,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


class Table:
    """Bytes after the previous token, as the challenge counts them."""

    def __init__(self) -> None:
        t = tokenizer()
        pieces = [t.id_to_piece(i) for i in range(t.get_piece_size())]
        special = [t.is_control(i) or t.is_unknown(i) for i in range(len(pieces))]
        self.leads = np.array([p.startswith("▁") and not s for p, s in zip(pieces, special, strict=True)])
        self.base = np.array(
            [
                0 if s else 1 if t.is_byte(i) else len(p.removeprefix("▁").encode())
                for i, (p, s) in enumerate(zip(pieces, special, strict=True))
            ]
        )
        self.boundary = np.array(special)

    def __call__(self, ids: np.ndarray, previous: np.ndarray) -> np.ndarray:
        return self.base[ids] + (self.leads[ids] & ~self.boundary[previous])


def failed(report: Any) -> list[str]:
    return [check.name for check in report.failed]


def test_a_right_table_passes_every_check() -> None:
    report = byte_table(Table(), tokenizer(), TEXTS)
    assert [check.verdict for check in report] == [Verdict.PASS] * 3, str(report)
    first, _, pieces = report
    assert (
        first.data["bytes"]
        == first.data["table_bytes"]
        == sum(len(tokenizer().decode(tokenizer().encode(text)).encode()) for text in TEXTS)
    )
    assert pieces.data["pieces"] > 40


def test_one_byte_too_many_for_one_token_is_found_where_it_stands() -> None:
    table = Table()
    ids = tokenizer().encode(TEXTS[0])
    table.base[ids[2]] += 1
    whole, prefixes, pieces = byte_table(table, tokenizer(), TEXTS)
    assert {whole.verdict, prefixes.verdict, pieces.verdict} == {Verdict.FAIL}
    assert f"text 0, token 2 (id {ids[2]})" in whole.evidence
    size = len(tokenizer().decode(ids[:3]).encode())
    assert f"{size} bytes up to here, {size + 1} by the table" in whole.evidence


def test_a_leading_space_that_is_counted_twice() -> None:
    table = Table()
    table.base += table.leads
    assert len(failed(byte_table(table, tokenizer(), TEXTS))) == 3


def test_characters_counted_instead_of_bytes() -> None:
    table = Table()
    table.base[[tokenizer().is_byte(i) for i in range(len(table.base))]] = 0
    ids = tokenizer().encode("the dog ä cat")
    first = next(k for k, i in enumerate(ids) if tokenizer().is_byte(i))
    whole, prefixes, _ = byte_table(table, tokenizer(), ["the dog", "the dog ä cat"])
    assert whole.verdict == prefixes.verdict == Verdict.FAIL
    assert "text 0" not in whole.evidence
    # The first byte is not a character: the two bytes can only be judged together.
    assert f"text 1, tokens {first}..{first + 1} (id {ids[first]}, {ids[first + 1]})" in whole.evidence


def test_errors_that_cancel_out_within_a_text() -> None:
    table = Table()
    ids = tokenizer().encode("the cat")
    assert len(ids) == 2
    table.base[ids[0]] += 1
    table.base[ids[1]] -= 1
    whole, prefixes, _ = byte_table(table, tokenizer(), ["the cat"])
    assert (whole.verdict, prefixes.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert f"text 0, token 0 (id {ids[0]})" in prefixes.evidence


def test_a_piece_that_no_text_has() -> None:
    table = Table()
    unused = tokenizer().piece_to_id("▁dogs")
    unused = unused if unused > 3 else tokenizer().piece_to_id("▁there")
    assert unused > 3
    table.base[unused] += 1
    whole, prefixes, pieces = byte_table(table, tokenizer(), ["the cat"])
    assert (whole.verdict, prefixes.verdict, pieces.verdict) == (Verdict.PASS, Verdict.PASS, Verdict.FAIL)
    assert f"id {unused} " in pieces.evidence


class Characters:
    """A tokenizer of bytes without a vocabulary size, as a stranger may have it."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")


def test_any_tokenizer_and_a_table_by_id() -> None:
    report = byte_table(np.ones(256, np.int64), Characters(), TEXTS)
    assert [check.verdict for check in report][:2] == [Verdict.PASS, Verdict.PASS]
    wrong = np.ones(256, np.int64)
    wrong[0xC3] = 2
    whole, *_ = byte_table(wrong, Characters(), TEXTS)
    assert "(id 195, " in whole.evidence  # the first byte of a character and the rest of it
    padded = byte_table(np.ones(300, np.int64), Characters(), TEXTS)
    assert not padded.failed, "ids beyond the pieces of the tokenizer"
    sized = byte_table(lambda ids, previous: np.ones_like(ids), Characters(), TEXTS, start=0)
    assert [check.verdict for check in sized] == [Verdict.PASS, Verdict.PASS, Verdict.NOT_CHECKED]


@pytest.mark.parametrize(
    ("table", "texts", "start", "message"),
    [
        (np.ones(256), TEXTS, None, "bytes_of: needs the bytes of every id as integers"),
        (np.ones((2, 2), int), TEXTS, None, "bytes_of: needs the bytes"),
        (np.ones(9, int), TEXTS, None, "bytes_of: has 9 entries"),
        (np.ones(256, int), [], None, "texts: holds no text"),
        (np.ones(256, int), [b"x"], None, "texts: text 0 is not a string"),
        (lambda ids, previous: np.ones_like(ids), TEXTS, None, "start: the tokenizer has no bos_id"),
        (lambda ids, previous: 1, TEXTS, 0, "bytes_of: must return one integer per id"),
        (lambda ids, previous: ids, TEXTS, "x", "start: cannot be 'x'; give the id"),
        (np.ones(256, int), None, None, "texts: cannot be None; pass a list"),
        (np.ones(256, int), "abc", None, "texts: cannot be 'abc'; pass a list"),
        (np.ones(256, int), ["\ud800"], None, "texts: text 0 has a lone surrogate"),
    ],
)
def test_unusable_tables_are_refused(table: Any, texts: Any, start: int | None, message: str) -> None:
    with pytest.raises(PgolfError, match=message):
        byte_table(table, Characters(), texts, start=start)


class Words(Characters):
    def encode(self, text: str) -> list[Any]:
        return text.split()


class Bytes(Characters):
    def decode(self, ids: list[int]) -> Any:
        return bytes(ids)


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (None, "tokenizer: cannot be 'NoneType'; pass an object with `encode` and `decode`"),
        (Words(), "tokenizer: encode does not give token ids"),
        (Bytes(), "tokenizer: decode gives bytes"),
    ],
)
def test_unusable_tokenizers_are_refused(tokenizer: Any, message: str) -> None:
    with pytest.raises(PgolfError, match=message):
        byte_table(np.ones(256, int), tokenizer, TEXTS)


SLIDING = [(0, 8), *((8 + 4 * k, 12 + 4 * k) for k in range(3))]  # 20 targets
NEVER, TWICE, PADDING = (
    "every target is scored",
    "no target is scored twice",
    "nothing but targets is scored",
)


@pytest.mark.parametrize(
    "plan",
    [SLIDING, [range(20)], [np.arange(20)], [[3, 1, 2, 0], (4, 20)], [(0, 0), (0, 20)], reversed(SLIDING)],
)
def test_a_plan_that_scores_every_target_once(plan: Any) -> None:
    report = windows(plan, 20)
    assert [check.verdict for check in report] == [Verdict.PASS] * 3, str(report)


@pytest.mark.parametrize(
    ("plan", "names", "evidence"),
    [
        ([*SLIDING, (16, 20), (16, 20)], [TWICE], "4 targets more than once, 16..19: 8 scores too many, up to 3"),
        (SLIDING[:-1], [NEVER], "never scored: 4 targets, 16..19"),
        ([[0, 1, 2, 4], range(5, 20)], [NEVER], "never scored: 1 targets, 3"),
        ([*SLIDING, (20, 23)], [PADDING], "positions outside 0..19 are scored, such as 22"),
        ([*SLIDING, [-1]], [PADDING], "such as -1"),
        ([(-2, 20)], [PADDING], "such as -2"),
        ([*SLIDING, (20, 12)], [PADDING], "1 spans end before they begin, such as (20, 12)"),
        ([np.array([0, 0, 1]), (2, 19)], [NEVER, TWICE], "0: 1 scores too many"),
        ([[0, 8], [8, 20]], [NEVER, TWICE, PADDING], "[0, 8] is taken as two positions: a pair (start, stop) must be"),
    ],
)
def test_planted_plans(plan: Any, names: list[str], evidence: str) -> None:
    report = windows(plan, 20)
    assert failed(report) == names
    assert any(evidence in check.evidence for check in report), str(report)


def test_the_published_sliding_windows_that_score_their_tail_again() -> None:
    """Windows of 1,024 every 64 targets, of which those near the end are cut and score the last 64 once more."""
    length, stride, targets = 1024, 64, 20 * 1024
    stops = (min(start + length, targets) for start in range(stride, targets - stride + 1, stride))
    plan = [(0, length), *((stop - stride, stop) for stop in stops)]
    never, twice, padding = windows(plan, targets)
    assert (never.verdict, twice.verdict, padding.verdict) == (Verdict.PASS, Verdict.FAIL, Verdict.PASS)
    assert (twice.data["repeated"], twice.data["extra_scores"]) == (64, 960)  # as in the published log
    assert "up to 16" in twice.evidence


@pytest.mark.parametrize(
    ("plan", "targets", "message"),
    [
        ([(0, 1.5)], 20, "plan: a span needs two whole numbers"),
        (["text"], np.int64(20), "plan: an entry is neither"),
        ([[0.5]], 20, "plan: an entry is neither"),
        ([], 0, "n_targets: cannot be 0; give the number of targets"),
        ([], None, "n_targets: cannot be None"),
        ([], True, "n_targets: cannot be True"),
        ([], 10**13, "n_targets: cannot be 10000000000000"),
        (None, 20, "plan: cannot be None; give pairs"),
        ("ab", 20, "plan: cannot be 'ab'; give pairs"),
    ],
)
def test_unusable_plans_are_refused(plan: Any, targets: Any, message: str) -> None:
    with pytest.raises(PgolfError, match=message):
        windows(plan, targets)
