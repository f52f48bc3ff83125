"""documents.bin: written and read back, and refused where it is damaged, another file, or contradicts its record."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgolf.errors import DamagedFile
from pgolf.records.documents import (
    DOCUMENTS,
    HEADER,
    MAGIC,
    DocumentScores,
    document_fields,
    documents_of_row,
    parsed,
    read_documents,
    write_documents,
)

NATS, SIZES = np.array([3.1, 0.0, 7.25]), np.array([4, 0, 11])
SCORES = DocumentScores(NATS, SIZES, first_is_cut=False, last_is_cut=True)
CONTENT = SCORES.content()


def record(**change: Any) -> dict[str, Any]:
    return {**document_fields(SCORES), "val_nats": NATS.sum() / 5, "val_targets": 5, "val_bytes": 15, **change}


def test_what_is_written_is_read_back_in_eight_bytes_a_document(tmp_path: Path) -> None:
    write_documents(tmp_path, SCORES)
    found = read_documents(tmp_path, record())
    assert found is not None
    np.testing.assert_allclose(found.nats, NATS, rtol=1e-7)
    np.testing.assert_array_equal(found.sizes, SIZES)
    assert (found.first_is_cut, found.last_is_cut, found.cut) == (False, True, 1)
    assert (tmp_path / DOCUMENTS).stat().st_size == HEADER.size + 8 * 3
    assert read_documents(tmp_path, {"val_bytes": 15}) is None, "an older record names no file"
    assert documents_of_row(tmp_path.parent, record(folder=tmp_path.name), may_be_missing=False) is not None


@pytest.mark.parametrize("folder", ["..", "/", "a" * 300, "a\0b", "", None, "gone"])
def test_a_row_names_no_place_outside(folder: str | None, tmp_path: Path) -> None:
    write_documents(tmp_path.parent, SCORES)
    assert documents_of_row(tmp_path, record(folder=folder), may_be_missing=True) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a file of documents"),
        (b"PK" + CONTENT[2:], "is not a file of documents"),
        (CONTENT[:-1], "it has 43 bytes, but a header of 3 documents means 44"),
        (CONTENT + b"\0", "it has 45 bytes"),
        (HEADER.pack(MAGIC, 1, 0, 0), "a header of 0 documents"),
        (HEADER.pack(MAGIC, 1, 2**32 - 1, 0), "a header of 4,294,967,295 documents"),
        (HEADER.pack(MAGIC, 2, 3, 0) + CONTENT[20:], "format version 2; this program reads version 1"),
        (HEADER.pack(MAGIC, 1, 3, 8) + CONTENT[20:], "unknown flags"),
        (DocumentScores(np.array([np.inf]), np.array([1]), False, False).content(), "not finite"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        parsed(content)
    (tmp_path / DOCUMENTS).write_bytes(content)
    named = record(documents_sha=hashlib.sha256(content).hexdigest())
    with pytest.raises(DamagedFile, match=rf"{DOCUMENTS}: .*{message}.*launch.rerun=true"):
        read_documents(tmp_path, named)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents_sha": "0" * 64}, "is not the file that the record names by its hash"),
        ({"documents": 4}, "documents is 4, the documents make it 3"),
        ({"documents_cut": 0}, "documents_cut is 0, the documents make it 1"),
        ({"val_bytes": 16}, "val_bytes is 16, the documents make it 15"),
        ({"val_nats": NATS.sum() / 5 * (1 + 1e-6)}, "val_nats x val_targets is .* the documents add up to"),
    ],
)
def test_a_contradiction_with_the_record_names_the_file(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_documents(tmp_path, SCORES)
    with pytest.raises(DamagedFile, match=rf"{tmp_path / DOCUMENTS}: .*{message}"):
        read_documents(tmp_path, record(**change))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match=rf"{DOCUMENTS}: cannot be read"):
        read_documents(tmp_path, record())
