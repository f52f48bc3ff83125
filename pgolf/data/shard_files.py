"""A corpus of shards that exist already, in the official format."""

from __future__ import annotations

import glob
from pathlib import Path

from pgolf.data.prepare.token_ids import check_token_ids
from pgolf.data.shards import token_count
from pgolf.data.tokenizer import load_tokenizer, load_tokenizer_of_size
from pgolf.errors import require, require_present
from pgolf.slots import Corpus


class ShardFiles:
    """Shards named by globs, in lexicographic order, and the SentencePiece model that made them.

    train_glob, val_glob: glob patterns (`~` and `**` are understood); tokenizer: path of the .model file; vocab_size:
    its size; shuffle_seed: seed of the order of training windows, null for the published order. Raises DataError where
    the tokenizer is not one or a shard's header or size is wrong; token ids and text are checked when a corpus is
    prepared and loaded.
    """

    name = "shards"

    def __init__(
        self,
        cache_dir: Path,
        *,
        train_glob: str,
        val_glob: str,
        tokenizer: str,
        vocab_size: int,
        shuffle_seed: int | None,
    ) -> None:
        self.cache_dir = cache_dir
        self.train_shards, self.val_shards = _matches(train_glob), _matches(val_glob)
        require_present(
            bool(self.train_shards),
            "train_glob",
            train_glob,
            "it matches no file; give a pattern such as 'folder/fineweb_train_*.bin'",
        )
        require_present(
            bool(self.val_shards),
            "val_glob",
            val_glob,
            "it matches no file; give a pattern such as 'folder/fineweb_val_*.bin'",
        )
        both = set(self.train_shards) & set(self.val_shards)
        require(
            not both,
            "val_glob",
            val_glob,
            f"it matches training shards too ({', '.join(sorted(map(str, both))[:3])}); keep them apart",
        )
        self.tokenizer = Path(tokenizer).expanduser()
        require_present(
            self.tokenizer.is_file(),
            "tokenizer",
            tokenizer,
            "there is no such file; give the path of a SentencePiece .model file",
        )
        require(2 <= vocab_size <= 65_536, "vocab_size", vocab_size, "give the tokenizer's size, 2 to 65536")
        pieces = load_tokenizer(self.tokenizer).get_piece_size()
        require(
            vocab_size == pieces,
            "vocab_size",
            vocab_size,
            f"{tokenizer} has {pieces} pieces; set data.vocab_size={pieces}",
        )
        for path in (*self.train_shards, *self.val_shards):
            token_count(path)
        self.vocab_size, self.shuffle_seed = vocab_size, shuffle_seed

    def prepare(self) -> Corpus:
        """Check tokenizer and shards; every token id is read once per set of files. Raises DataError."""
        load_tokenizer_of_size(self.tokenizer, self.vocab_size)
        check_token_ids(self.cache_dir, (*self.train_shards, *self.val_shards), self.vocab_size)
        return Corpus(
            name=self.name,
            train_shards=self.train_shards,
            val_shards=self.val_shards,
            tokenizer=self.tokenizer,
            vocab_size=self.vocab_size,
            shuffle_seed=self.shuffle_seed,
        )


def _matches(pattern: str) -> tuple[Path, ...]:
    """Absolute paths of the files that match, sorted. A pattern that is the name of an existing file means it."""
    whole = Path(pattern).expanduser()
    there = next(place for place in (whole, *whole.parents) if place.exists())
    rest = whole.relative_to(there)
    found = [there / name for name in glob.glob(str(rest), root_dir=there, recursive=True)] if rest.parts else [there]
    return tuple(sorted(path.absolute() for path in found if path.is_file()))
