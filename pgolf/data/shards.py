"""The official shard format: 256 little-endian int32 header words, then little-endian uint16 tokens.

Word 0 is the magic number, word 1 the version, word 2 the token count; the other words are 0. A file has exactly 1024 +
2 * count bytes. Source: the data loader of the parameter-golf baseline, which uses the format of llm.c. Arrays are 1-D
[N], N tokens.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np

from pgolf.errors import DataError
from pgolf.machine.files import open_regular, write_whole

MAGIC = 20240520
VERSION = 1
HEADER_WORDS = 256
HEADER_BYTES = 4 * HEADER_WORDS
TOKEN_BYTES = 2
MAX_SHARD_TOKENS = 100_000_000
WHOLE_HASH_LIMIT_BYTES = 64 * 2**20
EDGE_HASH_BYTES = 2**20
_SCAN_TOKENS = 16 * 2**20
_REMAKE = "Delete the file, then create or download it again"


def write_shard(path: Path, tokens: np.ndarray) -> None:
    """Write tokens [N] of any integer type to a file, atomically.

    Raises DataError unless ids are from 0 to 65535 and N is from 1 to MAX_SHARD_TOKENS; OSError if writing fails.
    """
    assert tokens.ndim == 1, tokens.shape
    assert np.issubdtype(tokens.dtype, np.integer), tokens.dtype
    if not 1 <= len(tokens) <= MAX_SHARD_TOKENS:
        raise DataError(f"{path}: a shard cannot hold {len(tokens):,} tokens. Give between 1 and {MAX_SHARD_TOKENS:,}")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high > 65_535:
        raise DataError(f"{path}: token {low if low < 0 else high} does not fit 16 bits. Give ids from 0 to 65535")
    header = np.zeros(HEADER_WORDS, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    write_whole(path, header.tobytes(), tokens.astype("<u2", copy=False).tobytes())


def write_shards(folder: Path, stem: str, tokens: np.ndarray, shard_tokens: int = MAX_SHARD_TOKENS) -> tuple[Path, ...]:
    """Write tokens [N] as `<stem>_000000.bin`, `<stem>_000001.bin`, ... of at most `shard_tokens` tokens each.

    Returns the paths in order.
    """
    paths = []
    for index, start in enumerate(range(0, len(tokens), shard_tokens)):
        paths.append(folder / f"{stem}_{index:06d}.bin")
        write_shard(paths[-1], tokens[start : start + shard_tokens])
    return tuple(paths)


def token_count(path: Path) -> int:
    """The number of tokens in a shard. Only the header is read.

    Raises DataError for a wrong magic number, version or file size.
    """
    with _opened(path) as file:
        size_bytes, head = os.fstat(file.fileno()).st_size, file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise DataError(
            f"{path}: only {size_bytes:,} bytes, shorter than a shard header ({HEADER_BYTES} bytes). {_REMAKE}"
        )
    magic, version, count = (int(word) for word in np.frombuffer(head, dtype="<i4")[:3])
    if magic != MAGIC:
        raise DataError(f"{path}: not a token shard (magic number {magic}, expected {MAGIC}). {_REMAKE}")
    if version != VERSION:
        raise DataError(f"{path}: shard format version {version}, but this program reads version {VERSION}. {_REMAKE}")
    if count < 1:
        raise DataError(f"{path}: the header declares {count} tokens, so the shard is empty. {_REMAKE}")
    expected_bytes = HEADER_BYTES + TOKEN_BYTES * count
    if size_bytes != expected_bytes:
        raise DataError(
            f"{path}: {size_bytes:,} bytes, but a header of {count:,} tokens means {expected_bytes:,}. {_REMAKE}"
        )
    return count


def read_shard(path: Path) -> np.ndarray:
    """The tokens of a shard, uint16 [N], as a read-only memory map. Raises the errors of `token_count`."""
    count = token_count(path)
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(count,))


def verify_shard(path: Path, vocab_size: int) -> int:
    """The number of tokens in a shard, all of which are read.

    Raises DataError for an invalid header or a token id outside the vocabulary.
    """
    tokens = read_shard(path)
    for start in range(0, len(tokens), _SCAN_TOKENS):
        block = tokens[start : start + _SCAN_TOKENS]
        if int(block.max()) >= vocab_size:
            position = start + int(np.argmax(block >= vocab_size))
            raise DataError(
                f"{path}: token {position:,} is {int(tokens[position])}, outside a vocabulary of {vocab_size}."
                " Use the tokenizer and vocab_size that these shards were made with"
            )
    return len(tokens)


def file_sha256(path: Path) -> str:
    """SHA-256 of the whole file, hexadecimal. Raises DataError if it cannot be read."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shard_sha256(path: Path) -> str:
    """Hash of a shard, hexadecimal. Up to 64 MiB, it is the SHA-256 of the whole file.

    For a larger file, it covers the size, the first MiB with the header, and the last MiB. That distinguishes shards,
    and a corpus of a hundred shards is hashed in milliseconds. `verify_shard` reads everything.
    """
    with _opened(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes <= WHOLE_HASH_LIMIT_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(f"edges {size_bytes}\n".encode())
        digest.update(file.read(EDGE_HASH_BYTES))
        file.seek(-EDGE_HASH_BYTES, os.SEEK_END)
        digest.update(file.read(EDGE_HASH_BYTES))
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, open for reading. Errors of opening and reading become DataError."""
    try:
        with open_regular(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions") from error
    except ValueError as error:
        raise DataError(f"{path}: cannot be read, {error}. Give a file") from error


def concatenated(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The arrays of several shards as one uint16 array [N] in memory."""
    return np.concatenate([np.asarray(array, dtype=np.uint16) for array in arrays])
