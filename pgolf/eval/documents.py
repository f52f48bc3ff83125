"""Evaluation of every document by itself: no target is predicted from another document.

A document begins at its document-start token, which every corpus of pgolf has (BOS), or at the first token of the text.
Its targets are its tokens after the first, and the start of the next document: that is predicted from this document
alone, too. So the documents share out all targets of the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import numpy as np

from pgolf.data.loaded import LoadedCorpus
from pgolf.errors import DataError
from pgolf.eval.score import Score
from pgolf.records.documents import DocumentScores
from pgolf.slots import DocumentMode, EvalMode, Window


@dataclass(frozen=True)
class Document:
    """The targets `start .. stop-1` of a text. `start` is also the position of the document's first token."""

    start: int
    stop: int

    @property
    def targets(self) -> int:
        return self.stop - self.start


def document_starts(tokens_N: np.ndarray, document_start: int) -> list[int]:
    """Positions of the first tokens of the documents of a text [N]; empty if no token is a document start."""
    starts: list[int] = np.flatnonzero(tokens_N == document_start).tolist()
    return starts if not starts or starts[0] == 0 else [0, *starts]


def document_scores(score: Score, starts: Sequence[int], bytes_N1: np.ndarray, *, whole: bool) -> DocumentScores | None:
    """The nats and bytes of each document in a score: sums over its scored targets. None for a score that is not
    finite.

    starts: positions of the first tokens of the documents, ascending from 0. bytes_N1: bytes of each target. whole: the
    first document begins with its start token. Documents after the last scored target are left out.
    """
    if not np.isfinite(score.nats_sum):
        return None
    scored = ~np.isnan(score.nats_per_target)
    first = np.array([start for start in starts if start < len(scored)])
    sizes, counts = np.diff([*first, len(scored)]), np.add.reduceat(scored.astype(np.int64), first)
    kept = int(np.flatnonzero(counts)[-1]) + 1
    nats = np.add.reduceat(np.where(scored, score.nats_per_target, 0.0), first)[:kept]
    sums = np.add.reduceat(np.where(scored, bytes_N1, 0).astype(np.int64), first)[:kept]
    is_cut = counts < sizes
    return DocumentScores(nats, sums, bool(not whole or is_cut[0]), bool(is_cut[kept - 1]))


class PerDocument:
    """A mode of documents on one text: the `EvalMode` whose windows lie inside the documents.

    starts: positions of the first tokens of the documents, ascending from 0.
    """

    def __init__(self, mode: DocumentMode, starts: Sequence[int]):
        self.mode, self.starts = mode, starts
        self.name, self.max_targets = mode.name, mode.max_targets

    @property
    def adaptation(self) -> Any:
        """How the mode trains adapters; None if it trains nothing."""
        return getattr(self.mode, "adaptation", None)

    def documents(self, targets: int) -> list[Document]:
        """The documents of the first `targets` targets, in order, without empty ones; the last one may be cut."""
        end = min(targets, self.max_targets or targets)
        stops = [*self.starts[1:], end]
        spans = [Document(start, min(stop, end)) for start, stop in zip(self.starts, stops, strict=True)]
        return [span for span in spans if span.targets > 0]

    def windows(self, targets: int) -> list[Window]:
        return [
            Window(d.start + w.start, d.start + w.scored, d.start + w.stop)
            for d in self.documents(targets)
            for w in self.mode.document_windows(d.targets)
        ]


def scores_documents(mode: object) -> TypeGuard[DocumentMode]:
    """Whether a mode scores every document by itself."""
    return hasattr(mode, "document_windows")


def mode_on(mode: EvalMode | DocumentMode, corpus: LoadedCorpus) -> EvalMode:
    """A mode on the validation text of a corpus. Raises DataError for a mode of documents on a text without any."""
    if not scores_documents(mode):
        return cast(EvalMode, mode)
    starts = document_starts(corpus.val_tokens, corpus.document_start)
    if not starts:
        raise DataError(
            f"eval: {mode.name} scores every document by itself, but none of the {len(corpus.val_tokens):,} validation "
            f"tokens is the tokenizer's document start (token {corpus.document_start}). Use eval=plain or "
            "eval=sliding, or data whose documents begin with that token"
        )
    return PerDocument(mode, starts)
