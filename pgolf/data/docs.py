"""The default corpus: docstrings of the interpreter and of installed packages. Real text without a download."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pgolf.data.prepare.bpe import MAX_VOCAB_SIZE, MIN_VOCAB_SIZE
from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.prepare.docstrings import STDLIB, package_documents, python_version, topic_documents
from pgolf.data.prepare.pipeline import build, corpus_of, pipeline_key
from pgolf.data.progress import say
from pgolf.errors import DataError, require
from pgolf.slots import Corpus

PACKAGES = (STDLIB, "numpy", "pandas", "torch")
MIN_TEXT_BYTES = 8_000_000
_SOURCES_VERSION = 1  # enters the cache key: raise it when other text would be gathered from the same packages


class Docs:
    """Language reference topics and the docstrings of the standard library, numpy, pandas and torch; deterministic
    given their versions.

    vocab_size: pieces of the tokenizer, trained on the training part; val_fraction: share of the text, by bytes, that
    is validation; shuffle_seed: seed of the order of training windows, null for the order of the files.
    """

    name = "docs"

    def __init__(self, cache_dir: Path, *, vocab_size: int, val_fraction: float, shuffle_seed: int | None) -> None:
        require(
            MIN_VOCAB_SIZE <= vocab_size <= MAX_VOCAB_SIZE,
            "vocab_size",
            vocab_size,
            f"give {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE} pieces",
        )
        require(0 < val_fraction <= 0.5, "val_fraction", val_fraction, "give a share above 0 and up to 0.5")
        self.cache_dir, self.vocab_size, self.val_fraction, self.shuffle_seed = (
            cache_dir,
            vocab_size,
            val_fraction,
            shuffle_seed,
        )

    def prepare(self) -> Corpus:
        """Make the corpus (once per set of versions, half a minute) or find it in the cache. Raises DataError."""
        key = {"sources": _SOURCES_VERSION, "versions": _versions(), **pipeline_key(self.vocab_size, self.val_fraction)}
        entry = prepare_entry(self.cache_dir, self.name, key, self._make)
        return corpus_of(entry, self.name, self.shuffle_seed)

    def _make(self, folder: Path) -> dict[str, object]:
        say(f"preparing the docs corpus, once, in {self.cache_dir} ...")
        documents, unreadable = topic_documents(), []
        for package in PACKAGES:
            say(f"  reading the documentation of {package} ...")
            found, failed = package_documents(package)
            documents += found
            unreadable += failed
        text_bytes = sum(each.size_bytes for each in documents)
        if text_bytes < MIN_TEXT_BYTES:
            raise DataError(
                f"docs: the installed documentation is only {text_bytes:,} bytes, {MIN_TEXT_BYTES:,} are needed (does "
                "this interpreter come"
                " without its sources?); use another Python installation, or data=text with a text of your own"
            )
        facts = build(
            folder, self.name, documents, vocab_size=self.vocab_size, val_fraction=self.val_fraction, what="docs"
        )
        return {**facts, "versions": _versions(), "gathered_text_bytes": text_bytes, "unreadable_files": unreadable}


def _versions() -> dict[str, str]:
    """Versions of everything that the text comes from."""
    versions = {STDLIB: python_version()}
    for package in PACKAGES:
        if package != STDLIB:
            try:
                versions[package] = version(package)
            except PackageNotFoundError as error:
                raise DataError(
                    f"docs: the package {package} is not installed, and its documentation is needed; install it"
                ) from error
    return versions
