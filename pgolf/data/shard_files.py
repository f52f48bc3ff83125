"""A corpus of existing shards in the official format."""

from __future__ import annotations

import glob
from pathlib import Path

from pgolf.data.prepare.token_ids import check_token_ids
from pgolf.data.shards import token_count
from pgolf.data.tokenizer import load_tokenizer, load_tokenizer_of_size
from pgolf.errors import require, require_present
from pgolf.slots import Corpus


class ShardFiles:
    """Shards that match glob patterns, in lexicographic order, and the SentencePiece model that they were made with.

    train_glob, val_glob: glob patterns, with `~` and `**`. tokenizer: path of the .model file. vocab_size: its number
    of pieces. shuffle_seed: seed of the order of training windows; null keeps the published order. Raises DataError for
    an invalid tokenizer, or a shard with a wrong header or size. Token ids are checked in `prepare`, the text in
    `load_corpus`.
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
        self.train_shards, self.val_shards = matching_files(train_glob), matching_files(val_glob)
        require_present(
            bool(self.train_shards),
            "train_glob",
            train_glob,
            "it does not match any file; give a pattern such as 'folder/fineweb_train_*.bin'",
        )
        require_present(
            bool(self.val_shards),
            "val_glob",
            val_glob,
            "it does not match any file; give a pattern such as 'folder/fineweb_val_*.bin'",
        )
        overlap = set(self.train_shards) & set(self.val_shards)
        require(
            not overlap,
            "val_glob",
            val_glob,
            f"it also matches training shards ({', '.join(sorted(map(str, overlap))[:3])}); keep them apart",
        )
        self.tokenizer = Path(tokenizer).expanduser()
        require_present(
            self.tokenizer.is_file(),
            "tokenizer",
            tokenizer,
            "the file does not exist; give the path of a SentencePiece .model file",
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
        """The corpus, after tokenizer and shards were checked. Token ids are read once per set of files.

        Raises DataError.
        """
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


def matching_files(pattern: str) -> tuple[Path, ...]:
    """Absolute paths of the matching files, sorted. The path of an existing file matches that file only."""
    path = Path(pattern).expanduser()
    root = next(place for place in (path, *path.parents) if place.exists())
    rest = path.relative_to(root)
    matches = [root / name for name in glob.glob(str(rest), root_dir=root, recursive=True)] if rest.parts else [root]
    return tuple(sorted(match.absolute() for match in matches if match.is_file()))
