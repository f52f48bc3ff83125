"""Checks of the data: what the training and the validation text share.

Shapes: N tokens of the training text, M tokens of the validation text, W tokens of a window.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from pgolf.audit import arguments
from pgolf.audit.report import Check, Report, Verdict
from pgolf.errors import PgolfError

RULE = "training"
BLOCK_TOKENS = 4_000_000
SHOWN = 3  # findings in one line of evidence
FEWEST_FLAGS, MOST_FLAGS = 2**16, 2**28  # entries of the table that most windows are ruled out with
FLAGS_PER_WINDOW = 64
SHORTEST_DOCUMENT = 16  # tokens without the start; shorter texts, such as a date, occur twice by chance

Tokens = np.ndarray | Iterable[np.ndarray]


def split(train_tokens: Tokens, val_tokens: Tokens, *, window: int = 64, document_start: int | None = None) -> Report:
    """Check that no window of validation tokens, and no validation document, occurs in the training tokens.

    train_tokens, val_tokens: integers [N] and [M], or arrays that follow one another, such as memory-mapped shards.
    window: W; windows at all positions of both texts are compared, also across the edges of shards. document_start: the
    id that begins every document; None: documents are not compared. Raises PgolfError for unusable arguments.
    """
    window = arguments.whole("window", window, 1, "choose a number of tokens, 1 or more; 64 is usual")
    if document_start is not None:
        document_start = arguments.whole("document_start", document_start, 0, "give a token id, or None")
    val = np.concatenate([np.empty(0, np.int64), *_blocks(_arrays("val_tokens", val_tokens))])
    known = _Windows(val, window)
    documents = _Documents(val, document_start)
    tokens = 0
    before = np.empty(0, np.int64)
    for array in _blocks(_arrays("train_tokens", train_tokens)):
        known.look_in(np.concatenate([before, array]), tokens - len(before))
        documents.look_in(array, tokens)
        tokens += len(array)
        before = np.concatenate([before, array])[-(window - 1) :] if window > 1 else before
    documents.finish()
    numbers = {"train_tokens": tokens, "val_tokens": len(val), "window": window}
    if not tokens or not len(val):
        which = "train_tokens" if not tokens else "val_tokens"
        raise PgolfError(f"{which}: holds no token. Give the tokens of the run")
    return Report((known.check(numbers), documents.check(numbers)))


def _arrays(name: str, tokens: Tokens) -> Iterator[np.ndarray]:
    """Each array as it is, checked."""
    arrays = [tokens] if isinstance(tokens, np.ndarray) else tokens
    for array in arguments.items(name, arrays, "give numpy arrays of integers, one or several"):
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
            what = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else f"{array!r:.60}"
            raise PgolfError(f"{name}: needs arrays of integers [N] ({what}). Give numpy arrays, one or several")
        yield array


def _blocks(arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The arrays in pieces of at most BLOCK_TOKENS, int64."""
    for array in arrays:
        for start in range(0, len(array), BLOCK_TOKENS):
            yield array[start : start + BLOCK_TOKENS].astype(np.int64)


class _Windows:
    """All windows of the validation tokens, and where they occur in the training tokens.

    A window of the training text is compared token by token with the validation window that has its hash, so that equal
    hashes of different windows have no effect.
    """

    def __init__(self, val: np.ndarray, window: int):
        self.val, self.window = val, window
        self.hashes, self.first = np.unique(_hashes(val, window), return_index=True)
        size = min(max(FLAGS_PER_WINDOW * len(self.hashes), FEWEST_FLAGS), MOST_FLAGS)
        self.shift = np.uint64(64 - (size - 1).bit_length())
        self.flags = np.zeros(2 ** ((size - 1).bit_length()), dtype=bool)
        self.flags[self.hashes >> self.shift] = True
        self.shared = np.zeros(len(self.hashes), dtype=bool)
        self.train_windows = 0
        self.places: list[tuple[int, int]] = []  # (training position, validation position)

    def look_in(self, tokens: np.ndarray, offset: int) -> None:
        """Look for the windows in training tokens [N]; `offset` is the position of the first one."""
        hashes = _hashes(tokens, self.window)
        if not len(hashes) or not len(self.hashes):
            return
        candidates = np.flatnonzero(self.flags[hashes >> self.shift])
        index = np.minimum(np.searchsorted(self.hashes, hashes[candidates]), len(self.hashes) - 1)
        same = self.hashes[index] == hashes[candidates]
        candidates, index = candidates[same], index[same]
        span = np.arange(self.window)
        for start in range(0, len(candidates), BLOCK_TOKENS // self.window):
            part = slice(start, start + BLOCK_TOKENS // self.window + 1)
            train = tokens[candidates[part, None] + span]
            equal = (train == self.val[self.first[index[part]][:, None] + span]).all(1)
            found = candidates[part][equal] + offset, index[part][equal]
            self.shared[found[1]] = True
            self.train_windows += len(found[0])
            if len(self.places) < SHOWN:
                firsts = np.flatnonzero(np.diff(found[0], prepend=-2) > 1)[:SHOWN]
                self.places += [(int(found[0][k]), int(self.first[found[1][k]])) for k in firsts]

    def check(self, numbers: dict[str, int]) -> Check:
        all_hashes = _hashes(self.val, self.window)
        is_shared = self.shared[np.searchsorted(self.hashes, all_hashes)] if len(all_hashes) else np.empty(0, bool)
        steps = np.zeros(len(self.val) + 1, dtype=np.int64)
        steps[np.flatnonzero(is_shared)] += 1
        steps[np.flatnonzero(is_shared) + self.window] -= 1
        covered, count = int((np.cumsum(steps) > 0).sum()), int(is_shared.sum())
        name = f"no window of {self.window} validation tokens is in the training tokens"
        limits = f"equal tokens only: a copy with another word in every {self.window} tokens is not seen"
        evidence = f"{numbers['train_tokens']:,} training tokens, {len(self.val):,} validation tokens"
        if not len(all_hashes):
            reason = f"{evidence}: the validation text is shorter than one window"
            return Check(RULE, name, Verdict.NOT_CHECKED, reason, limits, numbers)
        if count:
            places = "; ".join(f"training token {a:,} on is validation token {b:,} on" for a, b in self.places[:SHOWN])
            evidence += (
                f"; {count:,} of {len(all_hashes):,} validation windows are shared, and cover {covered:,} validation "
                f"tokens ({covered / len(self.val):.2%}): {places}"
            )
        data = {**numbers, "shared_windows": count, "shared_val_tokens": covered, "train_windows": self.train_windows}
        return Check(RULE, name, Verdict.FAIL if count else Verdict.PASS, evidence, limits, data)


class _Documents:
    """All documents of the validation tokens, and which of them occur whole in the training tokens."""

    def __init__(self, val: np.ndarray, start: int | None):
        self.start, self.in_val = start, dict[bytes, int]()
        self.val_documents = self.train_documents = self.short = 0  # short: validation documents that are left out
        self.shared: dict[bytes, tuple[int, int]] = {}  # document -> (training position, validation position)
        self.rest: list[np.ndarray] = []  # the document that may go on in the next array
        self.rest_at = 0
        self.starts = 0 if start is None else int((val == start).sum())  # in both texts
        if start is not None:
            for position, document in _documents(val, start):
                self.val_documents += 1
                content = _without_start(document, start)
                self.short += len(content) < SHORTEST_DOCUMENT
                if len(content) >= SHORTEST_DOCUMENT:
                    self.in_val.setdefault(content.tobytes(), position)

    def look_in(self, tokens: np.ndarray, offset: int) -> None:
        """Look for the documents in the next training tokens [N]; `offset` is the position of the first one."""
        if self.start is None:
            return
        starts = np.flatnonzero(tokens == self.start)
        self.starts += len(starts)
        if not len(starts):
            self.rest.append(tokens)
            return
        self.rest.append(tokens[: starts[0]])
        self.finish()
        for begin, end in pairwise(starts):
            self._see(tokens[begin:end], offset + int(begin))
        self.rest, self.rest_at = [tokens[starts[-1] :]], offset + int(starts[-1])

    def finish(self) -> None:
        """The document at the end of the tokens so far is complete."""
        document = np.concatenate([np.empty(0, np.int64), *self.rest])
        if self.start is not None and len(document):
            self._see(document, self.rest_at)
        self.rest = []

    def _see(self, document: np.ndarray, position: int) -> None:
        self.train_documents += 1
        assert self.start is not None
        key = _without_start(document, self.start).tobytes()
        if key in self.in_val:
            self.shared.setdefault(key, (position, self.in_val[key]))

    def check(self, numbers: dict[str, int]) -> Check:
        name = "no validation document is in the training tokens"
        limits = (
            f"whole documents of {SHORTEST_DOCUMENT} tokens or more, equal token by token apart from the start; the "
            "windows show parts of documents, also one that is cut or has another end token"
        )
        if self.start is None or not self.starts:
            missing = "is not given" if self.start is None else f"{self.start} is in none of the texts"
            return Check(RULE, name, Verdict.NOT_CHECKED, f"document_start {missing}", limits)
        evidence = f"{self.train_documents:,} training documents, {self.val_documents:,} validation documents"
        if self.short:
            evidence += f", {self.short:,} of them shorter than {SHORTEST_DOCUMENT} tokens"
        if self.shared:
            places = "; ".join(
                f"training token {a:,} on is validation token {b:,} on ({len(key) // 8:,} tokens)"
                for key, (a, b) in list(self.shared.items())[:SHOWN]
            )
            evidence += f"; {len(self.shared):,} are shared: {places}"
        data: dict[str, Any] = {
            **numbers,
            "train_documents": self.train_documents,
            "val_documents": self.val_documents,
            "short_val_documents": self.short,
            "shared_documents": len(self.shared),
        }
        return Check(RULE, name, Verdict.FAIL if self.shared else Verdict.PASS, evidence, limits, data)


def _without_start(document: np.ndarray, start: int) -> np.ndarray:
    """The tokens after the start. The first document of a text may have none."""
    return document[int(document[0] == start) :]


def _documents(tokens: np.ndarray, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """(position, tokens) of each document. Tokens before the first start are a document too."""
    starts = np.union1d([0], np.flatnonzero(tokens == start))
    for begin, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        yield int(begin), tokens[begin:end]


def _hashes(tokens: np.ndarray, window: int) -> np.ndarray:
    """The hash of every window of `window` tokens, uint64 [N - window + 1]; empty if N is smaller.

    The hash of 2k tokens is made from the hashes of its halves, so 64 tokens take six passes.
    """
    count = len(tokens) - window + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    doubled = _mix(tokens.astype(np.uint64) + np.uint64(1))
    result, covered, length = np.zeros(count, dtype=np.uint64), 0, 1
    while True:
        if window & length:
            result = _join(result, doubled[covered : covered + count])
            covered += length
        if covered == window:
            return result
        doubled = _join(doubled[:-length], doubled[length:])
        length *= 2


def _join(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The hash of two windows side by side; their order matters."""
    return _mix(left * np.uint64(0x9E3779B97F4A7C15) + right)


def _mix(value: np.ndarray) -> np.ndarray:
    """One round of a multiply-xorshift mixer on uint64 (arithmetic modulo 2^64)."""
    value = (value ^ (value >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(29))
