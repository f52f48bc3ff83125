"""Text as documents and units: cut, deduplicated and split into training and validation, before any tokenizer.

A unit is a paragraph with the separator that follows it. A paragraph of more than 1000 characters is cut into several
units: at line ends, else at spaces, else anywhere. The joined units of a document give its text back exactly. Nothing
here depends on a vocabulary, so the validation text is the same for every tokenizer.
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
        """The joined units, without white space at the ends."""
        return "".join(self.units).strip()

    @property
    def size_bytes(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.text.encode())


def document(name: str, text: str) -> Document:
    """A document of `text`, cut into units. Lone surrogates, which UTF-8 cannot encode, are dropped."""
    clean = text.encode("utf-8", "ignore").decode("utf-8")
    units: list[str] = []
    start = 0
    for blank in _BLANK_LINES.finditer(clean):
        units.extend(_bounded(clean[start : blank.end()]))
        start = blank.end()
    units.extend(_bounded(clean[start:]))
    return Document(name, tuple(unit for unit in units if unit))


def _bounded(paragraph: str) -> list[str]:
    """Parts of a paragraph of at most MAX_UNIT_CHARS characters, cut after a line end, else a space, else anywhere."""
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
    """The documents without units that occur earlier in the corpus, and the number of units that were removed.

    Units are compared without regard to white space. A document without any unit left is dropped.
    """
    known: set[str] = set()
    result: list[Document] = []
    removed = 0
    for each in documents:
        new_units = []
        for unit in each.units:
            key = " ".join(unit.split())
            if key and key not in known:
                known.add(key)
                new_units.append(unit)
            elif key:
                removed += 1
        if new_units:
            result.append(Document(each.name, tuple(new_units)))
    return result, removed


def split(documents: Sequence[Document], val_fraction: float, what: str) -> tuple[list[Document], list[Document]]:
    """Training and validation documents, each in the given order.

    Documents are ranked by a hash of their names. Validation takes them in that order until it has `val_fraction` (at
    most 0.5) of the bytes. It skips documents that are larger than a quarter of its share and larger than the median
    document, so that a single file cannot become the validation set. Raises DataError, which names the text as `what`,
    if there are fewer than two documents.
    """
    if len(documents) < 2:
        raise DataError(
            f"{what}: {len(documents)} document(s) in the text, but training and validation need one each. Give more "
            "text"
        )
    sizes = [each.size_bytes for each in documents]
    share_bytes = val_fraction * sum(sizes)
    ranked = sorted(range(len(documents)), key=lambda index: hashlib.sha256(documents[index].name.encode()).digest())
    limit_bytes = max(share_bytes / 4, statistics.median_low(sizes))
    val_indices: set[int] = set()
    val_bytes = 0
    for index in ranked:
        if val_bytes < share_bytes and sizes[index] <= limit_bytes:
            val_indices.add(index)
            val_bytes += sizes[index]
    train = [each for index, each in enumerate(documents) if index not in val_indices]
    return train, [each for index, each in enumerate(documents) if index in val_indices]
