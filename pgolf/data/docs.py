"""Docstrings of the interpreter and of installed packages. Real text without a download."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.prepare.docstrings import STDLIB, package_documents, python_version, topic_documents
from pgolf.data.prepare.pipeline import Recipe, build, corpus_of
from pgolf.data.progress import say
from pgolf.errors import DataError
from pgolf.slots import Corpus

PACKAGES = (STDLIB, "numpy", "pandas", "torch")
MIN_TEXT_BYTES = 8_000_000
_SOURCES_VERSION = 1  # part of the cache key: increase it when the text from the same packages changes


class Docs:
    """Topics of the language reference, and docstrings of the standard library, numpy, pandas and torch.

    The text is deterministic, given the versions of Python and the packages. vocab_size: pieces of the tokenizer, which
    is trained on the training part. val_fraction: the fraction of the text, in bytes, that is validation. shuffle_seed:
    seed of the order of training windows; null keeps the order of the files.
    """

    name = "docs"

    def __init__(self, cache_dir: Path, *, vocab_size: int, val_fraction: float, shuffle_seed: int | None) -> None:
        self.recipe = Recipe(vocab_size, val_fraction)
        self.cache_dir, self.shuffle_seed = cache_dir, shuffle_seed

    def prepare(self) -> Corpus:
        """The corpus, created if it is not in the cache (half a minute per set of versions). Raises DataError."""
        key = {"sources": _SOURCES_VERSION, "versions": _versions(), **self.recipe.key()}
        entry = prepare_entry(self.cache_dir, self.name, key, self._make)
        return corpus_of(entry, self.name, self.shuffle_seed)

    def _make(self, folder: Path) -> dict[str, object]:
        say(f"preparing the docs corpus, once, in {self.cache_dir} ...")
        documents, unreadable = topic_documents(), []
        for package in PACKAGES:
            say(f"  reading the documentation of {package} ...")
            new_documents, failures = package_documents(package)
            documents += new_documents
            unreadable += failures
        text_bytes = sum(each.size_bytes for each in documents)
        if text_bytes < MIN_TEXT_BYTES:
            raise DataError(
                f"docs: the installed documentation is only {text_bytes:,} bytes, {MIN_TEXT_BYTES:,} are needed. "
                "Perhaps this interpreter was installed without its sources. Use another Python installation, or "
                "data=text with a text of your own"
            )
        facts = build(folder, self.name, documents, self.recipe, what="docs")
        return {**facts, "versions": _versions(), "gathered_text_bytes": text_bytes, "unreadable_files": unreadable}


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages, which determine the text. Raises DataError for a missing package."""
    versions = {STDLIB: python_version()}
    for package in PACKAGES:
        if package != STDLIB:
            try:
                versions[package] = version(package)
            except PackageNotFoundError as error:
                raise DataError(
                    f"docs: the package {package} is not installed, but its documentation is needed. Install it"
                ) from error
    return versions
