"""The description of a corpus that `python -m pgolf.data` prints, and its full check."""

from __future__ import annotations

import numpy as np

from pgolf.data.loaded import LoadedCorpus, entry_of, load_corpus
from pgolf.data.prepare.cache import verify_entry
from pgolf.data.progress import say
from pgolf.data.shards import read_shard, verify_shard
from pgolf.data.tokenizer import check_text, load_tokenizer
from pgolf.slots import Corpus

_COUNTED_TOKENS = 50_000_000  # of a larger training part the bytes are not counted


def describe(corpus: Corpus) -> list[str]:
    """Lines about a prepared corpus: folder, sizes, bytes per token, hashes. Raises the errors of `load_corpus`."""
    loaded = load_corpus(corpus)
    return [
        f"corpus       {corpus.name}",
        f"folder       {corpus.train_shards[0].parent}",
        f"tokenizer    {corpus.tokenizer} ({corpus.vocab_size} pieces, sha256 {loaded.tokenizer_sha[:16]})",
        _train_line(loaded),
        _part_line("validation", len(loaded.val_tokens), len(corpus.val_shards), loaded.val_bytes),
        f"raw text     {corpus.raw_val_bytes:,} validation bytes before normalisation"
        if corpus.raw_val_bytes is not None
        else "raw text     not known (shards only)",
        "order        "
        f"{'published (no shuffle)' if corpus.shuffle_seed is None else f'shuffled, seed {corpus.shuffle_seed}'}",
        f"data hash    {loaded.data_sha}",
        f"text hash    {loaded.val_text_sha} (validation)",
    ]


def _train_line(loaded: LoadedCorpus) -> str:
    """Training tokens and bytes; the bytes only if counting them takes no more than a second or two."""
    size_bytes = (
        sum(loaded.byte_table.total_bytes(array) for array in loaded.train)
        if loaded.train_tokens <= _COUNTED_TOKENS
        else None
    )
    return _part_line("training", loaded.train_tokens, len(loaded.train), size_bytes)


def _part_line(part: str, tokens: int, shards: int, size_bytes: int | None) -> str:
    text = f"{part:12} {tokens:,} tokens in {shards} shard(s)"
    return text if size_bytes is None else f"{text}, {size_bytes:,} bytes, {size_bytes / tokens:.4f} bytes/token"


def verify(corpus: Corpus) -> list[str]:
    """Check a corpus in full; one line per check. Raises DataError at the first problem.

    Checks the hashes of a corpus from the cache, the header, size and token ids of every shard, and the byte table
    against the decoded text of every shard.
    """
    lines = []
    folder = entry_of(corpus)
    if folder is not None:
        lines.append(f"{folder}: {verify_entry(folder)} files have the recorded sizes and hashes")
    tokenizer = load_tokenizer(corpus.tokenizer)
    for path in (*corpus.train_shards, *corpus.val_shards):
        say(f"verifying {path} ...")
        count = verify_shard(path, corpus.vocab_size)
        size_bytes, _ = check_text(tokenizer, np.asarray(read_shard(path)), str(path))
        lines.append(
            f"{path}: {count:,} tokens, ids below {corpus.vocab_size}, {size_bytes:,} bytes by table and by decoding"
        )
    loaded = load_corpus(corpus)
    lines.append(
        f"validation: {len(loaded.val_tokens) - 1:,} targets, {loaded.val_bytes:,} bytes, text hash "
        f"{loaded.val_text_sha[:16]}"
    )
    return lines
