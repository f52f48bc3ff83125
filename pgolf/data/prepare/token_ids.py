"""The check of every token id of shards from elsewhere: one outside the vocabulary would index beyond the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgolf.data.prepare.cache import is_stamped, stamp
from pgolf.data.progress import say
from pgolf.data.shards import token_count, verify_shard

_ANNOUNCED_TOKENS = 200_000_000


def check_token_ids(cache_dir: Path, shards: Sequence[Path], vocab_size: int) -> None:
    """Check headers and sizes, and that every id is below `vocab_size`. Raises DataError with file and position.

    A set of files that has passed is recorded in the cache by path, size and time of change. Later only its headers are
    read.
    """
    tokens = sum(token_count(path) for path in shards)
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    key: dict[str, object] = {"shards": states, "vocab_size": vocab_size}
    if is_stamped(cache_dir, key):
        return
    if tokens > _ANNOUNCED_TOKENS:
        say(f"checking {tokens:,} token ids in {len(shards)} shards, once ...")
    for path in shards:
        verify_shard(path, vocab_size)
    stamp(cache_dir, key)
