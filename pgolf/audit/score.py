"""Check of the bytes that a score is divided by: the table of bytes per token.

Shapes: N tokens of one text, V vocabulary.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgolf.audit import arguments
from pgolf.audit.report import Check, Report, Verdict
from pgolf.errors import PgolfError, require

RULE = "score"
REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that are not a character
SHOWN = 3  # findings in one line of evidence
PREFIX_TOKENS = 256  # of every text, the prefixes up to this length are checked too
MOST_PIECES = 65_536  # a larger vocabulary is checked by the texts alone
ANCHORS = ("0", ".", ",", "a")  # texts before a piece that is checked by itself

BytesOf = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (ids [N], previous ids [N]) -> bytes [N]


@dataclass(frozen=True)
class _Text:
    """One encoded text. bytes: those of the decoded text, in UTF-8. counted: by the table, per token [N]."""

    name: str
    ids: list[int]
    content: str
    counted: np.ndarray

    @property
    def bytes(self) -> int:
        return len(self.content.encode("utf-8", errors="replace"))


def byte_table(
    bytes_of: BytesOf | np.ndarray | Sequence[int], tokenizer: Any, texts: Iterable[str], *, start: int | None = None
) -> Report:
    """Check that the table's sum over the tokens of a text is the number of UTF-8 bytes of the decoded text.

    bytes_of: a function (ids [N], previous ids [N]) -> bytes [N], where a token's bytes may depend on the token before;
    or the bytes of every id, [V]. tokenizer: anything with encode(text) -> ids and decode(ids) -> text, such as a
    SentencePiece processor. texts: any strings; include white space and characters of several bytes. start: the id
    before the first token of a text; by default the tokenizer's bos_id(). Raises PgolfError for unusable arguments.
    Exceptions of `bytes_of` and of the tokenizer for a given text are passed on.
    """
    for name in ("encode", "decode"):
        fits = callable(getattr(tokenizer, name, None))
        require(fits, "tokenizer", type(tokenizer).__name__, "pass an object with `encode` and `decode`")
    texts = arguments.items("texts", texts, "pass a list of strings")
    if start is not None:
        start = arguments.whole("start", start, 0, "give the id before the first token of a text")
    count = _counter(bytes_of, tokenizer, start)
    whole = [_encoded(tokenizer, count, f"text {number}", text) for number, text in enumerate(texts)]
    if not whole:
        raise PgolfError("texts: holds no text ([]). Give at least one")
    seen = {index for text in whole for index in text.ids}
    size = _vocab_size(bytes_of, tokenizer)
    pieces = list(_pieces(tokenizer, count, size))
    return Report(
        (
            _texts_check(tokenizer, whole, seen, size),
            _prefixes_check(tokenizer, whole),
            _pieces_check(tokenizer, pieces, size),
        )
    )


def _texts_check(tokenizer: Any, texts: Sequence[_Text], seen: set[int], size: int | None) -> Check:
    wrong = [text for text in texts if int(text.counted.sum()) != text.bytes]
    counted, real = sum(int(text.counted.sum()) for text in texts), sum(text.bytes for text in texts)
    tokens = sum(len(text.ids) for text in texts)
    vocabulary = "" if size is None else f" of {size:,}"
    evidence = f"{len(texts):,} texts, {tokens:,} tokens: {real:,} bytes of text, {counted:,} by the table"
    if wrong:
        evidence += f". {len(wrong):,} texts differ: " + "; ".join(
            _place(tokenizer, text, len(text.ids)) for text in wrong[:SHOWN]
        )
    return Check(
        RULE,
        "the byte table gives the UTF-8 bytes of each text",
        Verdict.FAIL if wrong else Verdict.PASS,
        evidence,
        f"the decoded text is counted, not the text before normalisation; {len(seen):,}{vocabulary} ids occur in it",
        {"texts": len(texts), "tokens": tokens, "bytes": real, "table_bytes": counted, "wrong_texts": len(wrong)},
    )


def _prefixes_check(tokenizer: Any, texts: Sequence[_Text]) -> Check:
    """Whether the beginnings of the texts agree too, so that two errors in one text cannot cancel."""
    wrong: list[str] = []
    checked = 0
    for text in texts:
        ends = range(1, min(len(text.ids), PREFIX_TOKENS) + 1)
        sums = np.cumsum(text.counted[: len(ends)])
        for end in ends:
            size = _prefix_bytes(tokenizer, text.ids[:end])
            checked += size is not None
            if size is not None and size != int(sums[end - 1]):
                wrong.append(_place(tokenizer, text, end))
                break
    return Check(
        RULE,
        "the byte table is right at every token of a text",
        Verdict.FAIL if wrong else Verdict.PASS,
        f"{checked:,} beginnings of texts"
        + (f"; {len(wrong):,} texts differ: {'; '.join(wrong[:SHOWN])}" * bool(wrong)),
        f"of each text the first {PREFIX_TOKENS} tokens; a beginning that cuts a character in two is left out",
        {"prefixes": checked, "wrong_texts": len(wrong)},
    )


def _pieces_check(tokenizer: Any, pieces: Sequence[_Text], size: int | None) -> Check:
    name = "the byte table is right for each piece after another"
    limits = "pieces that do not survive decoding and encoding (control, unknown, byte pieces) are left out"
    if not pieces:
        reason = "no piece could be decoded and encoded alone" if size else "the tokenizer does not tell its size"
        return Check(RULE, name, Verdict.NOT_CHECKED, reason, limits)
    wrong = [text for text in pieces if int(text.counted.sum()) != text.bytes]
    evidence = f"{len(pieces):,} of {size:,} pieces"
    if wrong:
        found = [
            f"id {t.ids[-1]} ({t.content!r:.40}): {t.bytes} bytes, {int(t.counted.sum())} by the table" for t in wrong
        ]
        evidence += f"; {len(wrong):,} differ: {'; '.join(found[:SHOWN])}"
    verdict = Verdict.FAIL if wrong else Verdict.PASS
    return Check(RULE, name, verdict, evidence, limits, {"pieces": len(pieces), "wrong_pieces": len(wrong)})


def _place(tokenizer: Any, text: _Text, end: int) -> str:
    """Where a text whose first `end` tokens are counted wrongly begins to be wrong, with both numbers."""
    sums, right, wrong, size = np.cumsum(text.counted), 0, end, _prefix_bytes(tokenizer, text.ids[:end])
    while wrong - right > 1:  # the first `right` tokens agree, the first `wrong` do not
        middle = (right + wrong) // 2
        ends = (*range(middle, wrong), *range(middle - 1, right, -1))
        sizes = ((end, _prefix_bytes(tokenizer, text.ids[:end])) for end in ends)
        middle, found = next(((end, size) for end, size in sizes if size is not None), (0, None))
        if found is None:  # all lie within one character
            break
        right, wrong, size = (middle, wrong, size) if found == sums[middle - 1] else (right, middle, found)
    tokens = f"token {right}" if wrong - right == 1 else f"tokens {right}..{wrong - 1}"
    ids = ", ".join(map(str, text.ids[right:wrong]))
    real = text.bytes if size is None else size
    return f"{text.name}, {tokens} (id {ids}): {real:,} bytes up to here, {int(sums[wrong - 1]):,} by the table"


def _prefix_bytes(tokenizer: Any, ids: list[int]) -> int | None:
    """UTF-8 bytes of decoded ids; None if they end within a character."""
    content: str = tokenizer.decode(ids)
    return None if REPLACEMENT in content else len(content.encode("utf-8", errors="replace"))


def _encoded(tokenizer: Any, count: Callable[[list[int]], np.ndarray], name: str, text: str) -> _Text:
    if not isinstance(text, str):
        raise PgolfError(f"texts: {name} is not a string ({text!r:.60}). Give strings")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PgolfError(f"texts: {name} has a lone surrogate ({text!r:.60}), which UTF-8 does not have. Leave it out")
    ids = _ids(tokenizer, text)
    content = tokenizer.decode(ids)
    if not isinstance(content, str):
        raise PgolfError(
            f"tokenizer: decode gives {type(content).__name__} ({content!r:.60}). Give one that gives text"
        )
    return _Text(name, ids, content, count(ids))


def _ids(tokenizer: Any, text: str) -> list[int]:
    encoded = tokenizer.encode(text)
    try:
        return [operator.index(index) for index in getattr(encoded, "ids", encoded)]
    except TypeError:
        raise PgolfError(f"tokenizer: encode does not give token ids ({encoded!r:.60}). Give one that does") from None


def _pieces(tokenizer: Any, count: Callable[[list[int]], np.ndarray], size: int | None) -> Iterator[_Text]:
    """Every piece after an anchor, as a text of its own, if encoding its text gives these two tokens again."""
    anchors = [ids[-1] for text in ANCHORS if (ids := _ids(tokenizer, text))]
    for index in range(size or 0):
        for anchor in anchors:
            try:
                content = tokenizer.decode([anchor, index])
            except Exception:  # any tokenizer's own: a table that is padded beyond the pieces of the tokenizer
                break
            unusable = not content or not isinstance(content, str) or REPLACEMENT in content
            if unusable or not _survives(tokenizer, content, [anchor, index]):
                continue
            yield _Text(f"piece {index}", [anchor, index], content, count([anchor, index]))
            break


def _survives(tokenizer: Any, content: str, ids: list[int]) -> bool:
    try:
        return _ids(tokenizer, content)[-2:] == ids and tokenizer.decode(_ids(tokenizer, content)) == content
    except ValueError:  # a tokenizer that refuses the text of its special pieces
        return False


def _vocab_size(bytes_of: Any, tokenizer: Any) -> int | None:
    """The number of pieces; None if it is unknown or too large."""
    sizes = [len(bytes_of)] if not callable(bytes_of) else []
    for name in ("get_piece_size", "get_vocab_size", "n_vocab", "vocab_size"):
        value = getattr(tokenizer, name, None)
        value = value() if callable(value) else value
        sizes += [value] if isinstance(value, int) and value > 0 else []
    return sizes[0] if sizes and sizes[0] <= MOST_PIECES else None


def _counter(bytes_of: Any, tokenizer: Any, start: int | None) -> Callable[[list[int]], np.ndarray]:
    """The table as a function ids -> bytes per token, int64 [N]."""
    if not callable(bytes_of):
        table = np.asarray(bytes_of)
        if table.ndim != 1 or table.dtype.kind not in "iu":
            raise PgolfError(
                f"bytes_of: needs the bytes of every id as integers [V] ({table.dtype} {list(table.shape)}). Give such "
                "an array, or a function of (ids, previous ids)"
            )

        def by_id(ids: list[int]) -> np.ndarray:
            if ids and max(ids) >= len(table):
                raise PgolfError(f"bytes_of: has {len(table)} entries, but the tokenizer gives id {max(ids)}")
            return table[np.asarray(ids, dtype=np.int64)].astype(np.int64)

        return by_id
    bos = getattr(tokenizer, "bos_id", None)
    first = start if start is not None else bos() if callable(bos) else None
    if first is None or first < 0:
        raise PgolfError(f"start: the tokenizer has no bos_id ({first}). Give the id before the first token of a text")

    def by_pair(ids: list[int]) -> np.ndarray:
        own = np.asarray(ids, dtype=np.int64)
        counted = np.asarray(bytes_of(own, np.concatenate([[first], own[:-1]]) if len(own) else own))
        if counted.shape != own.shape or counted.dtype.kind not in "iu":
            raise PgolfError(
                f"bytes_of: must return one integer per id, here [{len(own)}] ({counted.dtype} {list(counted.shape)})"
            )
        return counted.astype(np.int64)

    return by_pair
