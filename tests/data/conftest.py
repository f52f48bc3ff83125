"""Fixtures of the data tests: a small tokenizer, a text with near-duplicates, the shared official files, and the docs
corpus.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import sentencepiece

from pgolf.data import docs
from pgolf.data.docs import Docs
from pgolf.data.prepare.bpe import train_bpe
from pgolf.data.tokenizer import tokenizer_from
from pgolf.slots import Corpus

REPO_ROOT = Path(__file__).resolve().parents[2]
_SENTENCE = (
    "the of and a river stone walks slowly under bright heavy clouds while nobody remembers which of seven doors was "
    "painted blue before"
    " morning came to town with 12 carts 305 horses and one very old map of Zürich or Πάτρα drawn by hand in 1887 for "
    "a friend"
)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the official tokenizer and sample shards: PGOLF_SHARED_DATA, or shared/data next to the repository."""
    folder = Path(os.environ.get("PGOLF_SHARED_DATA", REPO_ROOT.parent / "shared" / "data"))
    if not (folder / "fineweb_1024_bpe.model").is_file():
        pytest.skip(f"no official tokenizer in {folder}; set PGOLF_SHARED_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def sample_text() -> str:
    """About 60 kB in 150 paragraphs, deterministic; every third paragraph repeats half of an earlier one inside new
    words.
    """
    draw, vocabulary = random.Random(7), _SENTENCE.split()
    paragraphs: list[str] = []
    for number in range(150):
        words = [draw.choice(vocabulary) for _ in range(draw.randint(60, 120))]
        if number % 3 == 2:
            old = paragraphs[draw.randrange(len(paragraphs))].split()
            words[20:20] = old[: len(old) // 2 + 20]
        paragraphs.append(" ".join(words) + f" {number}.")
    return "\n\n".join(paragraphs) + "\n"


@pytest.fixture(scope="session")
def tokenizer(sample_text: str) -> sentencepiece.SentencePieceProcessor:
    """A BPE tokenizer of 400 pieces."""
    return tokenizer_from(train_bpe(sample_text.split("\n\n"), 400, "sample"), "sample")


@pytest.fixture(scope="session")
def docs_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The docs corpus of one package (all four take half a minute), made once, also by parallel workers.
    PGOLF_TEST_CACHE names a cache folder that survives the test session.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    cache_dir = Path(os.environ.get("PGOLF_TEST_CACHE", shared / "docs_cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docs, "PACKAGES", ("numpy",))
        patch.setattr(docs, "MIN_TEXT_BYTES", 1_000_000)
        return Docs(cache_dir, vocab_size=1024, val_fraction=0.03, shuffle_seed=1).prepare()
