"""The default corpus, the same on every machine: annual messages of the presidents of the United States, 1790 to 2026.

The text is a part of the package. It is in the public domain (17 U.S.C. 105); benchmarks/make_addresses.py made it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import zstandard

from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.prepare.documents import Document, document
from pgolf.data.prepare.pipeline import Recipe, build, corpus_of
from pgolf.data.progress import say
from pgolf.errors import DataError
from pgolf.slots import Corpus

TEXT = Path(__file__).with_name("shipped") / "addresses.jsonl.zst"
TEXT_SHA256 = "68b97c355cf0071400ac701f61585118d0e1d7b957eb61d44a46735ea2ba23bb"
TEXT_BYTES = 12_239_660


class Addresses:
    """The addresses as documents, split into training and validation.

    vocab_size: pieces of the tokenizer, which is trained on the training part. val_fraction: the fraction of the text,
    in bytes, that is validation. shuffle_seed: seed of the order of training windows; null keeps the order of the
    years.
    """

    name = "addresses"

    def __init__(self, cache_dir: Path, *, vocab_size: int, val_fraction: float, shuffle_seed: int | None) -> None:
        self.recipe = Recipe(vocab_size, val_fraction)
        self.cache_dir, self.shuffle_seed = cache_dir, shuffle_seed

    def prepare(self) -> Corpus:
        """The corpus, created in some seconds if it is not in the cache. Raises DataError for a damaged package."""
        key = {"text_sha256": TEXT_SHA256, **self.recipe.key()}
        entry = prepare_entry(self.cache_dir, self.name, key, self._make)
        return corpus_of(entry, self.name, self.shuffle_seed)

    def _make(self, folder: Path) -> dict[str, object]:
        say(f"preparing the corpus {self.name}, once, in {self.cache_dir} ...")
        return build(folder, self.name, shipped_documents(), self.recipe, what=self.name)


def shipped_documents() -> list[Document]:
    """The documents of the package, by year. Raises DataError unless the file is the one that was shipped."""
    try:
        text = zstandard.ZstdDecompressor().decompress(TEXT.read_bytes(), max_output_size=TEXT_BYTES)
    except (OSError, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{TEXT}: cannot be read ({reason}). Install pgolf again") from error
    if (digest := hashlib.sha256(text).hexdigest()) != TEXT_SHA256:
        raise DataError(f"{TEXT}: is not the file that pgolf shipped (sha256 {digest[:16]}). Install pgolf again")
    return [document(line["name"], line["text"]) for line in map(json.loads, text.decode().splitlines())]
