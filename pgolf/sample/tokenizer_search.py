"""The tokenizer of a packed model, found by its hash: a packed file names none, and could name any."""

from pathlib import Path

import sentencepiece

from pgolf.config.folders import cache_dir
from pgolf.data.prepare.cache import MANIFEST, read_manifest
from pgolf.data.shards import file_sha256
from pgolf.data.tokenizer import load_tokenizer
from pgolf.errors import DataError

SHOWN = 12  # hex digits of a hash in a message
REMEDY = "Give its .model file with {option}"


def find_tokenizer(
    sha256: str, vocab_size: int, path: Path | None, option: str
) -> sentencepiece.SentencePieceProcessor:
    """The tokenizer with this hash: the file at `path`, or else one of the cache of corpora.

    option: how the user gives `path`, for messages. Raises DataError if there is none, or if `path` is another one.
    """
    found = path if path is not None else in_cache(Path(cache_dir()).expanduser(), sha256)
    if found is None:
        raise DataError(
            f"{option}: the tokenizer of this model (sha256 {sha256[:SHOWN]}) is not in the cache {cache_dir()}. "
            + REMEDY.format(option=option)
        )
    tokenizer = load_tokenizer(found)
    if (own := file_sha256(found)) != sha256:
        raise DataError(
            f"{option}: {found} is another tokenizer (sha256 {own[:SHOWN]}) than that of the model "
            f"({sha256[:SHOWN]}). " + REMEDY.format(option=option)
        )
    if tokenizer.get_piece_size() != vocab_size:
        raise DataError(
            f"{option}: {found} has {tokenizer.get_piece_size()} pieces, the model {vocab_size}. Give another model"
        )
    return tokenizer


def in_cache(cache: Path, sha256: str) -> Path | None:
    """The file of a prepared corpus that has this hash by its manifest; None without one."""
    for manifest in sorted(cache.glob(f"*/{MANIFEST}")):
        try:
            files = read_manifest(manifest.parent).files
        except DataError:  # a damaged entry is left out
            continue
        for name, file in files.items():
            if file.sha256 == sha256 and (manifest.parent / name).is_file():
                return manifest.parent / name
    return None
