"""A prepared corpus, opened for training and scoring, with the hashes that a run records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pgolf.data.prepare.cache import is_entry
from pgolf.data.shards import concatenated, file_sha256, read_shard, shard_sha256
from pgolf.data.tokenizer import ByteTable, check_text, load_tokenizer_of_size
from pgolf.errors import DataError
from pgolf.slots import Corpus


@dataclass(frozen=True)
class LoadedCorpus:
    """Tokens as 1-D uint16 arrays, in memory or memory-mapped.

    train: one array per shard, in order. val_tokens: all validation shards joined, [N]. val_bytes: bytes of its N-1
    targets. document_start: the id of the token that begins a document (BOS). data_sha: hash of the shards and the
    tokenizer, independent of their paths. val_text_sha: SHA-256 of the decoded validation text, the same for every
    tokenizer. tokenizer_sha: SHA-256 of the tokenizer file.
    """

    corpus: Corpus
    train: tuple[np.ndarray, ...]
    val_tokens: np.ndarray
    byte_table: ByteTable
    document_start: int
    train_tokens: int
    val_bytes: int
    data_sha: str
    val_text_sha: str
    tokenizer_sha: str


def load_corpus(corpus: Corpus) -> LoadedCorpus:
    """Open shards and tokenizer, and check them against each other. The last result is cached.

    Raises DataError for damaged shards, a tokenizer of another size, validation ids outside the vocabulary, fewer than
    two validation tokens, or a byte table that disagrees with the decoded validation text.
    """
    files = (*corpus.train_shards, *corpus.val_shards, corpus.tokenizer)
    try:
        states = tuple((status.st_mtime_ns, status.st_size, status.st_ino) for status in map(Path.stat, files))
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read ({error.strerror}). Check the path and its permissions"
        ) from error
    return replace(_checked(replace(corpus, shuffle_seed=None), states), corpus=corpus)


@lru_cache(maxsize=1)
def _checked(corpus: Corpus, _states: tuple[tuple[int, int, int], ...]) -> LoadedCorpus:
    """`load_corpus` without the shuffle seed, cached by corpus and states (time of change in ns, bytes, inode)."""
    tokenizer = load_tokenizer_of_size(corpus.tokenizer, corpus.vocab_size)
    if not corpus.train_shards or not corpus.val_shards:
        raise DataError(
            f"{corpus.name}: {len(corpus.train_shards)} training and {len(corpus.val_shards)} validation shards. Give "
            "at least one of each"
        )
    train = tuple(read_shard(path) for path in corpus.train_shards)
    val_tokens = concatenated([read_shard(path) for path in corpus.val_shards])
    where = str(corpus.val_shards[0].parent)
    if len(val_tokens) < 2:
        raise DataError(
            f"{where}: {len(val_tokens)} validation token(s), but a score needs two. Give more validation text"
        )
    if int(val_tokens.max()) >= corpus.vocab_size:
        raise DataError(
            f"{where}: validation token {int(val_tokens.max())} is outside a vocabulary of {corpus.vocab_size}."
            " Use the tokenizer and vocab_size that these shards were made with"
        )
    val_bytes, val_text_sha = check_text(tokenizer, val_tokens, f"{where}: validation")
    if not val_bytes:
        raise DataError(f"{where}: the validation tokens decode to an empty text. Give more validation text")
    return LoadedCorpus(
        corpus=corpus,
        train=train,
        val_tokens=val_tokens,
        byte_table=ByteTable.of(tokenizer),
        document_start=tokenizer.bos_id(),
        train_tokens=sum(len(array) for array in train),
        val_bytes=val_bytes,
        data_sha=data_sha256(corpus),
        val_text_sha=val_text_sha,
        tokenizer_sha=file_sha256(corpus.tokenizer),
    )


def data_sha256(corpus: Corpus) -> str:
    """The hash of a corpus, from the hashes of its shards, in order, and its tokenizer. Independent of paths.

    Large shards are hashed by their edges, see `shard_sha256`. Raises DataError if a file cannot be read.
    """
    digest = hashlib.sha256()
    for part, paths in (("train", corpus.train_shards), ("val", corpus.val_shards)):
        digest.update(_lines(part, (shard_sha256(path) for path in paths)))
    digest.update(_lines("tokenizer", [file_sha256(corpus.tokenizer)]))
    return digest.hexdigest()


def entry_of(corpus: Corpus) -> Path | None:
    """The cache folder of a corpus that pgolf prepared; None if its files are elsewhere."""
    folders = {path.parent for path in (corpus.tokenizer, *corpus.train_shards, *corpus.val_shards)}
    return next(iter(folders)) if len(folders) == 1 and all(map(is_entry, folders)) else None


def _lines(part: str, values: Iterable[str]) -> bytes:
    return "".join(f"{part} {value}\n" for value in values).encode()
