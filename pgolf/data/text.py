"""A corpus from the user's own UTF-8 text, with a tokenizer of any size trained on it."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import zstandard

from pgolf.data.bpe import MAX_VOCAB_SIZE, MIN_VOCAB_SIZE
from pgolf.data.cache import prepare_entry
from pgolf.data.documents import Document, document
from pgolf.data.pipeline import build, corpus_of, pipeline_key
from pgolf.data.progress import say
from pgolf.errors import DataError, require, require_present
from pgolf.slots import Corpus

MIN_DOCUMENT_CHARS = 2000
_BLANK_END = re.compile(r"\n[ \t]*\r?\n[ \t]*\Z")


class Text:
    """A text file or a folder of text files; `.zst` and `.gz` files are unpacked.

    path: a folder gives one document per file (sorted, hidden files left out); a single file is cut at lines that consist of
    `document_separator`, or, where that is null, at blank lines into documents of at least 2000 characters (fewer in a small text).
    vocab_size: pieces of the tokenizer; val_fraction: share of the text, by bytes, that is validation; shuffle_seed: seed of the order
    of training windows, null for the order of the text.
    """

    name = "text"

    def __init__(
        self, cache_dir: Path, *, path: str, document_separator: str | None, vocab_size: int, val_fraction: float, shuffle_seed: int | None
    ) -> None:
        self.path = Path(path).expanduser()
        require_present(self.path.exists(), "path", path, "give an existing text file or folder")
        require_present(
            self.path.is_file() or bool(_text_files(self.path)), "path", path, "give a folder with at least one text file in it"
        )
        separator_holds = document_separator is None or (bool(document_separator.strip()) and "\n" not in document_separator)
        require(separator_holds, "document_separator", document_separator, "give the text of a separator line, or null for blank lines")
        require(
            MIN_VOCAB_SIZE <= vocab_size <= MAX_VOCAB_SIZE, "vocab_size", vocab_size, f"give {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE} pieces"
        )
        require(0 < val_fraction <= 0.5, "val_fraction", val_fraction, "give a share above 0 and up to 0.5")
        self.cache_dir, self.document_separator = cache_dir, document_separator
        self.vocab_size, self.val_fraction, self.shuffle_seed = vocab_size, val_fraction, shuffle_seed

    def prepare(self) -> Corpus:
        """Make the corpus, or find it in the cache by the text's hash. Raises DataError."""
        files = [self.path] if self.path.is_file() else _text_files(self.path)
        texts = [(self._label(path), _decoded(path)) for path in files]
        if not any(text.strip() for _, text in texts):
            raise DataError(f"{self.path}: there is no text in it; give a file or folder with text")
        digest = hashlib.sha256()
        for label, text in texts:
            digest.update(f"{label}\0{len(text)}\0".encode() + text.encode())
        key = {"text_sha256": digest.hexdigest(), "separator": self.document_separator, **pipeline_key(self.vocab_size, self.val_fraction)}
        key["single_file"] = self.path.is_file()

        def make(folder: Path) -> dict[str, object]:
            say(f"preparing a corpus from {self.path}, once, in {self.cache_dir} ...")
            documents = self._documents(texts)
            facts = build(folder, self.name, documents, vocab_size=self.vocab_size, val_fraction=self.val_fraction, what=str(self.path))
            return {**facts, "files": len(files)}

        entry = prepare_entry(self.cache_dir, self.name, key, make)
        return corpus_of(entry, self.name, self.shuffle_seed)

    def _label(self, path: Path) -> str:
        """Name of a file that does not depend on where the corpus lies; of a single file nothing."""
        return "" if path == self.path else path.relative_to(self.path).as_posix()

    def _documents(self, texts: list[tuple[str, str]]) -> list[Document]:
        if self.path.is_dir():
            return [document(label, text) for label, text in texts if text.strip()]
        text = texts[0][1]
        parts = _grouped(text) if self.document_separator is None else _separated(text, self.document_separator)
        return [document(f"{index}", part) for index, part in enumerate(parts) if part.strip()]


def _text_files(folder: Path) -> list[Path]:
    """Files below `folder`, sorted by relative path; hidden ones and those in hidden folders left out."""
    inner = (path.relative_to(folder) for path in folder.rglob("*"))
    names = sorted(path.as_posix() for path in inner if not any(part.startswith(".") for part in path.parts))
    return [folder / name for name in names if (folder / name).is_file()]


def _decoded(path: Path) -> str:
    """Text of one file, unpacked by its suffix, without a byte order mark. Raises DataError with the offset of what is not UTF-8."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    except (OSError, EOFError, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); check the file and its permissions") from error
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 at byte {error.start:,} (0x{data[error.start]:02x}); convert it to UTF-8, or leave the file out"
        ) from error


def _separated(text: str, separator: str) -> Iterator[str]:
    """Parts of the text between lines that are the separator, blanks at their ends apart."""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.strip() == separator.strip():
            yield "".join(lines)
            lines = []
        else:
            lines.append(line)
    yield "".join(lines)


def _grouped(text: str) -> Iterator[str]:
    """Parts of the text, cut after a blank line where the part has 2000 characters, and anywhere between units where it has ten times that.

    Of a text below 80,000 characters the parts are smaller, about a fortieth of it, so that there is something to choose from.
    """
    least_chars = min(MIN_DOCUMENT_CHARS, len(text) // 40)
    part: list[str] = []
    chars = 0
    for unit in document("", text).units:
        part.append(unit)
        chars += len(unit)
        if chars >= 10 * least_chars or (chars >= least_chars and _BLANK_END.search(unit)):
            yield "".join(part)
            part, chars = [], 0
    yield "".join(part)
