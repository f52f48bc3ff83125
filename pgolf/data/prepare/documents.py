"""Text as documents of units: cut, de-duplicated and split into training and validation, all before any tokenizer.

A unit is a paragraph with the separator that follows it; a paragraph of more than 1000 characters is cut into several
at line ends, else at spaces, else anywhere. The units of a document joined give its text back exactly. Nothing here
depends on a vocabulary, so the validation text is the same for every tokenizer.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgolf.errors import DataError

MAX_UNIT_CHARS = 1000
_BLANK_LINES = re.compile(r"(?:\r?\n[ \t]*){2,}")


@dataclass(frozen=True)
class Document:
    """One document: a name that stays the same when its text changes, and its units in order."""

    name: str
    units: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.units).strip()

    @property
    def size_bytes(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.text.encode())


def document(name: str, text: str) -> Document:
    """A document of `text`, cut into units. Lone surrogates, which no UTF-8 can hold, are dropped."""
    clean = text.encode("utf-8", "ignore").decode("utf-8")
    units: list[str] = []
    start = 0
    for blank in _BLANK_LINES.finditer(clean):
        units.extend(_bounded(clean[start : blank.end()]))
        start = blank.end()
    units.extend(_bounded(clean[start:]))
    return Document(name, tuple(unit for unit in units if unit))


def _bounded(paragraph: str) -> list[str]:
    """The paragraph in parts of at most MAX_UNIT_CHARS characters, cut after a line end, else after a space, else
    anywhere.
    """
    parts = []
    start = 0
    while len(paragraph) - start > MAX_UNIT_CHARS:
        stop = start + MAX_UNIT_CHARS
        cut = (
            max(paragraph.rfind("\n", start, stop), start) - start
            or max(paragraph.rfind(" ", start, stop), start) - start
        )
        end = start + cut + 1 if cut else stop
        parts.append(paragraph[start:end])
        start = end
    return [*parts, paragraph[start:]]


def deduplicate(documents: Iterable[Document]) -> tuple[list[Document], int]:
    """The documents without any unit that an earlier place of the corpus has (whitespace apart), and how many units
    that removed.

    A document with nothing left is dropped.
    """
    seen: set[str] = set()
    kept: list[Document] = []
    removed = 0
    for each in documents:
        fresh = []
        for unit in each.units:
            key = " ".join(unit.split())
            if key and key not in seen:
                seen.add(key)
                fresh.append(unit)
            elif key:
                removed += 1
        if fresh:
            kept.append(Document(each.name, tuple(fresh)))
    return kept, removed


def split(documents: Sequence[Document], val_fraction: float, what: str) -> tuple[list[Document], list[Document]]:
    """Training and validation documents, each in the given order.

    Documents are ranked by a hash of their names; validation takes them in that order until it holds `val_fraction` (at
    most 0.5) of the bytes, passing over those that are larger than a quarter of that share and than the median
    document, so that no one file becomes the validation set. Raises DataError when there are fewer than two documents.
    """
    if len(documents) < 2:
        raise DataError(
            f"{what}: {len(documents)} document(s) in the text, but training and validation need one each; give more "
            "text or files"
        )
    sizes = [each.size_bytes for each in documents]
    share_bytes = val_fraction * sum(sizes)
    ranked = sorted(range(len(documents)), key=lambda index: hashlib.sha256(documents[index].name.encode()).digest())
    limit_bytes = max(share_bytes / 4, statistics.median_low(sizes))
    chosen: set[int] = set()
    taken_bytes = 0
    for index in ranked:
        if taken_bytes < share_bytes and sizes[index] <= limit_bytes:
            chosen.add(index)
            taken_bytes += sizes[index]
    train = [each for index, each in enumerate(documents) if index not in chosen]
    return train, [each for index, each in enumerate(documents) if index in chosen]
