"""A corpus from the user's own UTF-8 text, with a tokenizer that is trained on it."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path, PurePosixPath

import zstandard

from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.prepare.documents import Document, document
from pgolf.data.prepare.pipeline import Recipe, build, corpus_of
from pgolf.data.progress import say
from pgolf.errors import DataError, require, require_present
from pgolf.machine.files import open_regular
from pgolf.slots import Corpus

MIN_DOCUMENT_CHARS = 2000
MAX_TEXT_BYTES = 2 * 2**30  # of all files together, decompressed
_PIECE_BYTES = 2**22
_PACKED_BYTES = 2**11  # zstd may decompress them to 32,768 times as many
_FOLDERS_VERSION = 2  # part of the cache key of several files: increase it when they are cut in another way
_BLANK_END = re.compile(r"\n[ \t]*\r?\n[ \t]*\Z")


class Text:
    """A text file, or the text files in a folder. `.zst` and `.gz` files are decompressed.

    files: one glob or several. A file in a folder is used if its relative path matches one of them, with or without the
    ending `.gz` or `.zst`; `*` also matches `/`. Hidden files are never used. Files are read in the order of their
    names. document_separator: every file is cut into documents at lines with this text. If it is null, a file is cut
    at blank lines into documents of at least 2000 characters, or fewer in a small text. vocab_size: pieces of the
    tokenizer. val_fraction: the fraction of the text, in bytes, that is validation. shuffle_seed: seed of the order of
    training windows; null keeps the order of the text.
    """

    name = "text"

    def __init__(
        self,
        cache_dir: Path,
        *,
        path: str,
        files: str | list[str],
        document_separator: str | None,
        vocab_size: int,
        val_fraction: float,
        shuffle_seed: int | None,
    ) -> None:
        self.path, self.globs = Path(path).expanduser(), [files] if isinstance(files, str) else list(files)
        absent = f"{self.path.absolute()} does not exist; give an existing text file or folder"
        require_present(self.path.exists(), "path", path, absent)
        require_present(
            self.path.is_file() or self.path.is_dir(), "path", path, "it is not a file or folder; give one with text"
        )
        files_here = _files_of(self.path)
        require_present(bool(files_here), "path", path, "give a folder with at least one text file in it")
        suffixes = ", ".join(sorted({name.suffix or name.name for _, name in files_here})[:8])
        require_present(
            bool(self._matching_files()),
            "files",
            files,
            f"none of the {len(files_here)} files in {path} matches; they end in {suffixes}",
        )
        is_one_line = document_separator is None or (
            bool(document_separator.strip()) and "\n" not in document_separator
        )
        require(
            is_one_line,
            "document_separator",
            document_separator,
            "give the text of a separator line, or null for blank lines",
        )
        self.recipe = Recipe(vocab_size, val_fraction)
        self.cache_dir, self.document_separator, self.shuffle_seed = cache_dir, document_separator, shuffle_seed

    def prepare(self) -> Corpus:
        """The corpus, created if the cache has none for the hash of the text. Raises DataError."""
        files = self._matching_files()
        texts, left_bytes = [], MAX_TEXT_BYTES
        for path, name in files:
            content = _content(path, left_bytes, self._way_out())
            left_bytes -= len(content)
            texts.append((name.as_posix() if len(files) > 1 else "", _decode(path, content, self._way_out())))
        if not any(text.strip() for _, text in texts):
            raise DataError(f"{self.path}: there is no text in it. Give a file or folder with text")
        digest = hashlib.sha256()
        for label, text in texts:
            digest.update(f"{label}\0{len(text)}\0".encode() + text.encode())
        key = {
            "text_sha256": digest.hexdigest(),
            "separator": self.document_separator,
            **self.recipe.key(),
        }
        key |= {"single_file": True} if len(files) == 1 else {"files_cut": _FOLDERS_VERSION}

        def make(folder: Path) -> dict[str, object]:
            say(f"preparing a corpus from {self.path}, once, in {self.cache_dir} ...")
            facts = build(folder, self.name, self._documents(texts), self.recipe, what=str(self.path))
            return {**facts, "files": len(files)}

        entry = prepare_entry(self.cache_dir, self.name, key, make)
        return corpus_of(entry, self.name, self.shuffle_seed)

    def _matching_files(self) -> list[tuple[Path, PurePosixPath]]:
        """(path, relative path in the folder) of the files that are used."""
        return [
            (path, name)
            for path, name in _files_of(self.path)
            if any(_matches(name, pattern) for pattern in self.globs)
        ]

    def _way_out(self) -> str:
        return f"or leave it out with data.files, now {','.join(self.globs)}, as in data.files=*.txt"

    def _documents(self, texts: list[tuple[str, str]]) -> list[Document]:
        """Documents of all files, named `<file>/<index>`, or `<index>` if there is a single file."""
        least_chars = min(MIN_DOCUMENT_CHARS, sum(len(text) for _, text in texts) // 40)
        documents = []
        for label, text in texts:
            parts = (
                _grouped(text, least_chars)
                if self.document_separator is None
                else _separated(text, self.document_separator)
            )
            documents += [
                document(f"{label}/{index}" if label else f"{index}", part)
                for index, part in enumerate(parts)
                if part.strip()
            ]
        return documents


def _files_of(path: Path) -> list[tuple[Path, PurePosixPath]]:
    """(path, relative path) of a file, or of the files below a folder, sorted, without hidden files and folders."""
    if path.is_file():
        return [(path, PurePosixPath(path.name))]
    inner = (place.relative_to(path) for place in path.rglob("*"))
    names = sorted(place.as_posix() for place in inner if not any(part.startswith(".") for part in place.parts))
    return [(path / name, PurePosixPath(name)) for name in names if (path / name).is_file()]


def _matches(name: PurePosixPath, pattern: str) -> bool:
    stem = name.with_suffix("") if name.suffix in (".gz", ".zst") else name
    return fnmatchcase(str(name), pattern) or fnmatchcase(str(stem), pattern)


def _content(path: Path, most_bytes: int, way_out: str) -> bytes:
    """The content of one file, decompressed according to its suffix. way_out: the end of the error messages.

    Raises DataError for a file that cannot be read or decompressed, that holds a NUL byte, or that has more than
    `most_bytes`; the rest is then not read, so that no file fills the memory.
    """
    parts, size_bytes = [], 0
    try:
        with open_regular(path) as file:
            for part in _decompressed(file, path.suffix):
                if (place := part.find(0)) >= 0:
                    raise DataError(
                        f"{path}: not text, byte {size_bytes + place:,} is NUL. Give text as UTF-8, {way_out}"
                    )
                size_bytes += len(part)
                if size_bytes > most_bytes:
                    raise DataError(
                        f"{path}: up to here the text has over {MAX_TEXT_BYTES:,} bytes, decompressed and with the "
                        "files before it, and all of it must fit in memory. Give less text, use shards (data=shards), "
                        f"{way_out}"
                    )
                parts.append(part)
    except (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}). Check the file and its permissions, {way_out}") from error
    return b"".join(parts)


def _decompressed(file: BufferedReader, suffix: str) -> Iterator[bytes]:
    """The content of an open file in pieces. Raises EOFError for a compressed file that is cut short."""
    if suffix == ".zst":
        frame = None  # zstandard's stream_reader does not notice that a file is cut short
        while packed := file.read(_PACKED_BYTES):
            while packed:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(packed)
                packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frame is not None:
            raise EOFError("its last frame is cut short")
        return
    with gzip.GzipFile(fileobj=file) if suffix == ".gz" else file as content:
        while part := content.read(_PIECE_BYTES):
            yield part


def _decode(path: Path, data: bytes, way_out: str) -> str:
    """The text of a file's content, without a byte order mark. Raises DataError with the offset of invalid UTF-8."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 at byte {error.start:,} (0x{data[error.start]:02x}). Convert it to UTF-8, {way_out}"
        ) from error


def _separated(text: str, separator: str) -> Iterator[str]:
    """Parts of the text between separator lines. Blanks around a separator are ignored."""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.strip() == separator.strip():
            yield "".join(lines)
            lines = []
        else:
            lines.append(line)
    yield "".join(lines)


def _grouped(text: str, least_chars: int) -> Iterator[str]:
    """Parts of the text. A part ends at the first blank line after `least_chars`, at the latest after 10 times as many.

    least_chars is 2000. For a text below 80,000 characters it is a fortieth of it, so that there are enough documents.
    """
    part: list[str] = []
    chars = 0
    for unit in document("", text).units:
        part.append(unit)
        chars += len(unit)
        if chars >= 10 * least_chars or (chars >= least_chars and _BLANK_END.search(unit)):
            yield "".join(part)
            part, chars = [], 0
    yield "".join(part)
