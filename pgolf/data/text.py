"""A corpus from the user's own UTF-8 text, with a tokenizer of any size trained on it."""

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

from pgolf.data.prepare.bpe import MAX_VOCAB_SIZE, MIN_VOCAB_SIZE
from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.prepare.documents import Document, document
from pgolf.data.prepare.pipeline import build, corpus_of, pipeline_key
from pgolf.data.progress import say
from pgolf.errors import DataError, require, require_present
from pgolf.machine.files import open_regular
from pgolf.slots import Corpus

MIN_DOCUMENT_CHARS = 2000
MAX_TEXT_BYTES = 2 * 2**30  # of all files together, unpacked
_PIECE_BYTES = 2**22
_PACKED_BYTES = 2**11  # zstd may unpack them to 32,768 times as many
_FOLDERS_VERSION = 2  # enters the cache key of several files: raise it when they would be cut in another way
_BLANK_END = re.compile(r"\n[ \t]*\r?\n[ \t]*\Z")


class Text:
    """A text file or a folder of text files; `.zst` and `.gz` files are unpacked.

    files: glob or globs; of a folder, those files count whose path in it matches one, with or without `.gz` or `.zst`
    at its end (`*` matches `/` too; hidden files never count). They are read in the order of their names. Each file,
    alone or in a folder, is cut at lines that consist of `document_separator`, or, where that is null, at blank lines
    into documents of at least 2000 characters (fewer in a small text). vocab_size: pieces of the tokenizer;
    val_fraction: share of the text, by bytes, that is validation; shuffle_seed: seed of the order of training windows,
    null for the order of the text.
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
        require_present(self.path.exists(), "path", path, "give an existing text file or folder")
        require_present(
            self.path.is_file() or self.path.is_dir(), "path", path, "it is not a file or folder; give one with text"
        )
        there = _files_of(self.path)
        require_present(bool(there), "path", path, "give a folder with at least one text file in it")
        suffixes = ", ".join(sorted({name.suffix or name.name for _, name in there})[:8])
        require_present(
            bool(self._chosen()),
            "files",
            files,
            f"none of the {len(there)} files in {path} matches; they end in {suffixes}",
        )
        separator_holds = document_separator is None or (
            bool(document_separator.strip()) and "\n" not in document_separator
        )
        require(
            separator_holds,
            "document_separator",
            document_separator,
            "give the text of a separator line, or null for blank lines",
        )
        require(
            MIN_VOCAB_SIZE <= vocab_size <= MAX_VOCAB_SIZE,
            "vocab_size",
            vocab_size,
            f"give {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE} pieces",
        )
        require(0 < val_fraction <= 0.5, "val_fraction", val_fraction, "give a share above 0 and up to 0.5")
        self.cache_dir, self.document_separator = cache_dir, document_separator
        self.vocab_size, self.val_fraction, self.shuffle_seed = vocab_size, val_fraction, shuffle_seed

    def prepare(self) -> Corpus:
        """Make the corpus, or find it in the cache by the text's hash. Raises DataError."""
        files = self._chosen()
        texts, left_bytes = [], MAX_TEXT_BYTES
        for path, name in files:
            content = _content(path, left_bytes, self._way_out())
            left_bytes -= len(content)
            texts.append((name.as_posix() if len(files) > 1 else "", _decoded(path, content, self._way_out())))
        if not any(text.strip() for _, text in texts):
            raise DataError(f"{self.path}: there is no text in it; give a file or folder with text")
        digest = hashlib.sha256()
        for label, text in texts:
            digest.update(f"{label}\0{len(text)}\0".encode() + text.encode())
        key = {
            "text_sha256": digest.hexdigest(),
            "separator": self.document_separator,
            **pipeline_key(self.vocab_size, self.val_fraction),
        }
        key |= {"single_file": True} if len(files) == 1 else {"files_cut": _FOLDERS_VERSION}

        def make(folder: Path) -> dict[str, object]:
            say(f"preparing a corpus from {self.path}, once, in {self.cache_dir} ...")
            documents = self._documents(texts)
            facts = build(
                folder,
                self.name,
                documents,
                vocab_size=self.vocab_size,
                val_fraction=self.val_fraction,
                what=str(self.path),
            )
            return {**facts, "files": len(files)}

        entry = prepare_entry(self.cache_dir, self.name, key, make)
        return corpus_of(entry, self.name, self.shuffle_seed)

    def _chosen(self) -> list[tuple[Path, PurePosixPath]]:
        """(path, name in the folder) of the files that count."""
        return [
            (path, name)
            for path, name in _files_of(self.path)
            if any(_matches(name, pattern) for pattern in self.globs)
        ]

    def _way_out(self) -> str:
        return f"or leave it out with data.files, now {','.join(self.globs)}, as in data.files=*.txt"

    def _documents(self, texts: list[tuple[str, str]]) -> list[Document]:
        """Documents of all files, named by file and place, by place alone where there is one file."""
        least_chars = min(MIN_DOCUMENT_CHARS, sum(len(text) for _, text in texts) // 40)
        made = []
        for label, text in texts:
            parts = (
                _grouped(text, least_chars)
                if self.document_separator is None
                else _separated(text, self.document_separator)
            )
            made += [
                document(f"{label}/{index}" if label else f"{index}", part)
                for index, part in enumerate(parts)
                if part.strip()
            ]
        return made


def _files_of(path: Path) -> list[tuple[Path, PurePosixPath]]:
    """A file, or the files below a folder, sorted by their names in it; hidden ones and those in hidden folders left
    out.
    """
    if path.is_file():
        return [(path, PurePosixPath(path.name))]
    inner = (found.relative_to(path) for found in path.rglob("*"))
    names = sorted(found.as_posix() for found in inner if not any(part.startswith(".") for part in found.parts))
    return [(path / name, PurePosixPath(name)) for name in names if (path / name).is_file()]


def _matches(name: PurePosixPath, pattern: str) -> bool:
    unpacked = name.with_suffix("") if name.suffix in (".gz", ".zst") else name
    return fnmatchcase(str(name), pattern) or fnmatchcase(str(unpacked), pattern)


def _content(path: Path, most_bytes: int, way_out: str) -> bytes:
    """Bytes of one file, unpacked piece by piece by its suffix. Raises DataError for a file that cannot be read or
    unpacked, that holds a NUL byte, or from its first byte over `most_bytes` on, so that no file fills the memory."""
    parts, size_bytes = [], 0
    try:
        with open_regular(path) as file:
            for part in _unpacked(file, path.suffix):
                if (place := part.find(0)) >= 0:
                    raise DataError(
                        f"{path}: not text, byte {size_bytes + place:,} is NUL; give text as UTF-8, {way_out}"
                    )
                size_bytes += len(part)
                if size_bytes > most_bytes:
                    raise DataError(
                        f"{path}: the text is over {MAX_TEXT_BYTES:,} bytes here, unpacked and with the files before "
                        "it, and all of it is"
                        f" held in memory; give less, make shards (data=shards), {way_out}"
                    )
                parts.append(part)
    except (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); check the file and its permissions, {way_out}") from error
    return b"".join(parts)


def _unpacked(file: BufferedReader, suffix: str) -> Iterator[bytes]:
    """Content of an open file in pieces. Raises EOFError where a packed file is cut."""
    if suffix == ".zst":
        frame = None  # stream_reader takes the end of a cut file for its end
        while packed := file.read(_PACKED_BYTES):
            while packed:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(packed)
                packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frame is not None:
            raise EOFError("its last frame is cut short")
        return
    with gzip.GzipFile(fileobj=file) if suffix == ".gz" else file as unpacked:
        while part := unpacked.read(_PIECE_BYTES):
            yield part


def _decoded(path: Path, data: bytes, way_out: str) -> str:
    """Text of a file's content, without a byte order mark. Raises DataError with the offset of what is not UTF-8."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 at byte {error.start:,} (0x{data[error.start]:02x}); convert it to UTF-8, {way_out}"
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


def _grouped(text: str, least_chars: int) -> Iterator[str]:
    """Parts of the text, cut after a blank line where the part has `least_chars`, and anywhere between units where it
    has ten times that.

    That is 2000; of a corpus below 80,000 characters it is about a fortieth, so that there is something to choose from.
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
