"""Nats and bytes of every scored document of a run: documents.bin in its folder, named in the record by its hash.

Beside rows without their run folders the files are the lines of document_scores.jsonl, each found by its hash.

Format, little-endian: a header of 20 bytes (magic, version, number of documents N, flags), float32 nats [N], uint32
bytes [N]. Flag 1: the first document is cut. Flag 2: the last one is cut. The file is not trusted.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgolf.errors import DamagedFile
from pgolf.machine.files import is_inside, read_regular, write_whole
from pgolf.machine.plain import read_lines
from pgolf.records.kinds import is_count

DOCUMENTS = "documents.bin"
KEPT = "document_scores.jsonl"
SHA, COUNT, CUT = "documents_sha", "documents", "documents_cut"  # fields of a record
MAGIC, VERSION = b"pgolfdoc", 1
HEADER = struct.Struct("<8sIII")
FIRST_CUT, LAST_CUT = 1, 2
MAX_DOCUMENTS_BYTES = 256 * 2**20
LARGEST_BYTES = 2**32 - 1  # of one document
ROUNDING = 2.0**-23  # relative: twice what rounding each document to float32 can change in the sum
REMEDY = "Run it again with launch.rerun=true"
KEPT_REMEDY = "Write it again from the run folders: python -m pgolf.aggregate FOLDER --documents"


@dataclass(frozen=True)
class DocumentScores:
    """What was scored of each document: nats float64 [N] and sizes in bytes, int64 [N], in the order of the text.

    first_is_cut: the text does not begin with a document start. last_is_cut: its end was not scored.
    """

    nats: np.ndarray
    sizes: np.ndarray
    first_is_cut: bool
    last_is_cut: bool

    @property
    def cut(self) -> int:
        """The number of documents that were scored in part."""
        return min(len(self.nats), self.first_is_cut + self.last_is_cut)

    def content(self) -> bytes:
        """The file of these scores."""
        assert self.sizes.max() <= LARGEST_BYTES, f"a document has {self.sizes.max()} bytes"
        flags = FIRST_CUT * self.first_is_cut + LAST_CUT * self.last_is_cut
        header = HEADER.pack(MAGIC, VERSION, len(self.nats), flags)
        return header + self.nats.astype("<f4").tobytes() + self.sizes.astype("<u4").tobytes()


def document_fields(scores: DocumentScores) -> dict[str, Any]:
    """The fields of a record about its file of documents."""
    return {COUNT: len(scores.nats), CUT: scores.cut, SHA: hashlib.sha256(scores.content()).hexdigest()}


def write_documents(folder: Path, scores: DocumentScores) -> None:
    """Write the file of a run folder. Raises OSError."""
    write_whole(folder / DOCUMENTS, scores.content())


def parsed(content: bytes) -> DocumentScores:
    """The scores in a file. Raises ValueError with the reason where the content is not valid."""
    if len(content) < HEADER.size or not content.startswith(MAGIC):
        raise ValueError("it is not a file of documents")
    _, version, number, flags = HEADER.unpack_from(content)
    if version != VERSION:
        raise ValueError(f"it has format version {version}; this program reads version {VERSION}")
    expected = HEADER.size + 8 * number
    if number < 1 or len(content) != expected:
        raise ValueError(f"it has {len(content):,} bytes, but a header of {number:,} documents means {expected:,}")
    if flags & ~(FIRST_CUT | LAST_CUT):
        raise ValueError(f"it has unknown flags ({flags})")
    nats = np.frombuffer(content, "<f4", number, HEADER.size).astype(np.float64)
    sizes = np.frombuffer(content, "<u4", number, HEADER.size + 4 * number).astype(np.int64)
    if not np.isfinite(nats).all():
        raise ValueError(f"it holds nats that are not finite ({nats[~np.isfinite(nats)][0]})")
    return DocumentScores(nats, sizes, bool(flags & FIRST_CUT), bool(flags & LAST_CUT))


def read_documents(folder: Path, record: Mapping[str, Any]) -> DocumentScores | None:
    """The documents of a run, checked against its record. None where the record names none.

    Raises DamagedFile for a file that is missing, damaged, another one, or contradicts the record.
    """
    if record.get(SHA) is None:
        return None
    path = folder / DOCUMENTS
    try:
        content = read_regular(path, MAX_DOCUMENTS_BYTES)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read ({error.strerror})", REMEDY) from None
    except ValueError as error:
        raise DamagedFile(path, str(error), REMEDY) from None
    return checked(content, record, path)


def checked(content: bytes, record: Mapping[str, Any], path: Path, remedy: str = REMEDY) -> DocumentScores:
    """The documents in the content of a file, checked against a record that names one. path, remedy: for messages.

    Raises DamagedFile.
    """
    try:
        if hashlib.sha256(content).hexdigest() != record[SHA]:
            raise ValueError(f"it is not the file that the record names by its hash ({str(record[SHA])[:12]})")
        scores = parsed(content)
    except ValueError as error:
        raise DamagedFile(path, str(error), remedy) from None
    if problem := contradiction(scores, record):
        raise DamagedFile(path, f"contradicts the record: {problem}", remedy)
    return scores


def contradiction(scores: DocumentScores, record: Mapping[str, Any]) -> str | None:
    """The first difference between documents and the record's sums; None without one."""
    for key, value in ((COUNT, len(scores.nats)), (CUT, scores.cut), ("val_bytes", int(scores.sizes.sum()))):
        if record.get(key) is not None and record[key] != value:
            return f"{key} is {record[key]}, the documents make it {value}"
    if record.get("val_nats") is None or record.get("val_targets") is None:
        return None
    wanted, found = record["val_nats"] * record["val_targets"], float(scores.nats.sum())
    if not abs(found - wanted) <= ROUNDING * abs(wanted):
        return f"val_nats x val_targets is {wanted!r}, the documents add up to {found!r}"
    return None


def documents_of_row(root: Path, row: Mapping[str, Any], *, may_be_missing: bool) -> DocumentScores | None:
    """The documents of a row of `pgolf.records.rows`. root: the folder that its `folder` is relative to.

    None where the row names none, or a folder outside `root`, or where the file is missing and may be: beside rows that
    were copied. Raises DamagedFile.
    """
    folder = str(row.get("folder") or "")
    if folder != "." and not is_inside(folder):
        return None
    if may_be_missing and not (root / folder / DOCUMENTS).exists():
        return None
    return read_documents(root / folder, row)


def count_of(row: Mapping[str, Any]) -> int:
    """The number of documents that a record names; 0 without a file."""
    return int(row[COUNT]) if row.get(SHA) is not None and is_count(row.get(COUNT)) else 0


def kept_lines(files: Iterable[DocumentScores]) -> list[str]:
    """One line per distinct file of documents: its hash and its content in base64."""
    contents = {hashlib.sha256(content).hexdigest(): content for content in (file.content() for file in files)}
    return [
        json.dumps({"sha": sha, "content": base64.b64encode(content).decode()}) + "\n"
        for sha, content in contents.items()
    ]


def load_kept(path: Path) -> tuple[dict[str, bytes], list[str]]:
    """(the files in a file of `kept_lines` by their hash, at most one warning about damaged lines). Both are empty
    without a file. The contents are not checked.
    """
    files, warnings = read_lines(path, kept_file, what="lines", most_bytes=MAX_DOCUMENTS_BYTES)
    return dict(files), warnings


def kept_file(value: Any) -> tuple[str, bytes]:
    """(hash, content) of the file on one line. Raises ValueError."""
    sha, content = (value.get("sha"), value.get("content")) if isinstance(value, dict) else (None, None)
    if not isinstance(sha, str) or not isinstance(content, str):
        raise ValueError("it does not have a hash and a content")
    return sha, base64.b64decode(content, validate=True)
