"""From documents to a corpus: deduplicate, split, train the tokenizer, encode, remove overlaps, write shards.

Used by `docs` and `text`. The validation text depends on the documents and the fraction only, never on the vocabulary.
The tokenizer is trained on the training part. Leaks are removed from the training side. If a window of 64 training
tokens also occurs in the validation tokens, at any offset, the unit in its middle is removed from the training text.
This is repeated until no such window is left. So the validation part, and its number of bytes, do not change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import sentencepiece

from pgolf.data.prepare.bpe import MAX_VOCAB_SIZE, MIN_VOCAB_SIZE, train_bpe
from pgolf.data.prepare.cache import MANIFEST, Entry
from pgolf.data.prepare.documents import Document, deduplicate, split
from pgolf.data.prepare.overlap import shared_windows
from pgolf.data.progress import say
from pgolf.data.shards import concatenated, write_shards
from pgolf.data.tokenizer import check_text, encode_documents, tokenizer_from
from pgolf.errors import DataError, require
from pgolf.machine.files import write_whole
from pgolf.machine.typed import typed
from pgolf.slots import Corpus

PIPELINE_VERSION = 1  # part of every cache key: increase it when the same text gives other tokens
WINDOW_TOKENS = 64
PARTS = 5  # of the encoding, after each of which its progress is said
TOKENIZER_FILE = "tokenizer.model"


@dataclass(frozen=True)
class Recipe:
    """Settings of a corpus that is prepared from text. Raises OptionError for a value out of range.

    vocab_size: pieces of the tokenizer. val_fraction: the fraction of the text, in bytes, that is validation.
    """

    vocab_size: int
    val_fraction: float

    def __post_init__(self) -> None:
        remedy = f"give {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE} pieces"
        require(MIN_VOCAB_SIZE <= self.vocab_size <= MAX_VOCAB_SIZE, "vocab_size", self.vocab_size, remedy)
        remedy = "give a fraction above 0 and at most 0.5"
        require(0 < self.val_fraction <= 0.5, "val_fraction", self.val_fraction, remedy)

    def key(self) -> dict[str, object]:
        """Everything but its documents that a corpus made by `build` depends on."""
        return {
            "pipeline": PIPELINE_VERSION,
            "sentencepiece": version("sentencepiece"),
            "val_fraction": self.val_fraction,
            "vocab_size": self.vocab_size,
            "window_tokens": WINDOW_TOKENS,
        }


def build(folder: Path, name: str, documents: Sequence[Document], recipe: Recipe, what: str) -> dict[str, object]:
    """Write the tokenizer and the shards of `documents` into `folder`. Returns the facts for the manifest.

    Shards are named after `name`. Raises DataError, which names the text as `what`, for a text that is too small for
    the vocabulary or for a split.
    """
    vocab_size = recipe.vocab_size
    unique, repeated = deduplicate(documents)
    train, val = split(unique, recipe.val_fraction, what)
    say(
        f"  training a tokenizer of {vocab_size} pieces on {sum(each.size_bytes for each in train):,} bytes of text ..."
    )
    model = train_bpe((unit for each in train for unit in each.units), vocab_size, what)
    tokenizer = tokenizer_from(model, what)
    say("  encoding, and removing from training the text that is also in validation ...")
    val_tokens = concatenated(encode_documents(tokenizer, [each.text for each in val]))
    train, encoded, removed = remove_overlap(tokenizer, train, val_tokens)
    if not train:
        raise DataError(
            f"{what}: nothing is left to train on, as all of it is in the validation text too. Give more varied text"
        )
    train_tokens = concatenated(encoded)
    check_text(tokenizer, val_tokens, f"{what}: validation")
    write_whole(folder / TOKENIZER_FILE, model)
    shards = {
        part: [path.name for path in write_shards(folder, f"{name}_{part}", tokens)]
        for part, tokens in (("train", train_tokens), ("val", val_tokens))
    }
    return {
        "repeated_units": repeated,
        "overlapping_units": removed,
        **_text_facts("train", train, train_tokens),
        **_text_facts("val", val, val_tokens),
        "train_shards": shards["train"],
        "val_shards": shards["val"],
        "vocab_size": vocab_size,
    }


def encode_aloud(tokenizer: sentencepiece.SentencePieceProcessor, texts: Sequence[str]) -> list[np.ndarray]:
    """`encode_documents` in PARTS parts of about the same number of documents. Says the percentage after each."""
    ends = [len(texts) * part // PARTS for part in range(PARTS + 1)]
    encoded = list[np.ndarray]()
    for start, end in pairwise(ends):
        encoded += encode_documents(tokenizer, texts[start:end])
        if end > start:
            say(f"  encoded {100 * end // len(texts)}%")
    return encoded


def remove_overlap(
    tokenizer: sentencepiece.SentencePieceProcessor, train: Sequence[Document], val_tokens: np.ndarray
) -> tuple[list[Document], list[np.ndarray], int]:
    """Training documents that share no window of WINDOW_TOKENS tokens with val_tokens.

    Returns the documents, their tokens, and the number of units that were removed. For each shared window, the unit in
    its middle is removed; the documents are then encoded and searched again, until no window is shared. Every round
    removes at least one unit, so the loop ends.
    """
    documents, removed = list(train), 0
    encoded = encode_aloud(tokenizer, [each.text for each in documents])
    while documents:
        tokens = concatenated(encoded)
        middles = shared_windows(tokens, val_tokens, WINDOW_TOKENS) + WINDOW_TOKENS // 2
        if not len(middles):
            break
        ends = np.cumsum([len(each) for each in encoded])
        owners = np.searchsorted(ends, middles, side="right")
        changed = np.unique(owners).tolist()
        for index in changed:
            offsets = middles[owners == index] - (ends[index] - len(encoded[index]))
            overlaps = _units_at(tokenizer, documents[index], encoded[index], offsets)
            removed += len(overlaps)
            units = tuple(unit for place, unit in enumerate(documents[index].units) if place not in overlaps)
            documents[index] = Document(documents[index].name, units)
        new_tokens = encode_documents(tokenizer, [documents[index].text for index in changed])
        for index, tokens_of_document in zip(changed, new_tokens, strict=True):
            encoded[index] = tokens_of_document
        non_empty = [index for index, each in enumerate(documents) if each.units]
        documents, encoded = [documents[index] for index in non_empty], [encoded[index] for index in non_empty]
    return documents, encoded, removed


def _units_at(
    tokenizer: sentencepiece.SentencePieceProcessor, document: Document, tokens: np.ndarray, offsets: np.ndarray
) -> set[int]:
    """Indices of the units of `document` that contain the tokens at `offsets`, by bytes of normalised text.

    Normalisation across a cut can move a byte, so an index can be that of the neighbour. The caller searches again, so
    the result is right in the end.
    """
    pieces = [tokenizer.id_to_piece(index) for index in tokens.tolist()]
    sizes = [
        0 if tokenizer.is_control(i) else 1 if tokenizer.is_byte(i) else len(p.encode())
        for i, p in zip(tokens.tolist(), pieces, strict=True)
    ]
    before = np.cumsum(sizes) - sizes
    # U+2581 is 3 bytes long.
    lengths = [len(tokenizer.normalize(unit).encode()) + 3 * unit[-1:].isspace() for unit in document.units]
    places = np.searchsorted(np.cumsum(lengths), before[offsets], side="right")
    return set(np.minimum(places, len(document.units) - 1).tolist())


def _text_facts(part: str, documents: Sequence[Document], tokens: np.ndarray) -> dict[str, object]:
    """Counts and hash of one part's raw text: documents joined by blank lines."""
    text = "\n\n".join(each.text for each in documents).encode()
    return {
        f"{part}_documents": len(documents),
        f"{part}_text_bytes": sum(each.size_bytes for each in documents),
        f"{part}_text_sha256": hashlib.sha256(text).hexdigest(),
        f"{part}_tokens": len(tokens),
    }


@dataclass(frozen=True)
class Facts:
    """The facts in the manifest of a corpus that a run needs."""

    train_shards: tuple[str, ...]
    val_shards: tuple[str, ...]
    vocab_size: int
    val_text_bytes: int


def corpus_of(entry: Entry, name: str, shuffle_seed: int | None) -> Corpus:
    """The corpus in a cache entry made by `build`. Raises DataError if its manifest lacks a fact or a file."""
    try:
        facts = typed(
            Facts,
            {key: entry.facts[key] for key in ("train_shards", "val_shards", "vocab_size", "val_text_bytes")},
            "facts",
        )
        missing = {*facts.train_shards, *facts.val_shards, TOKENIZER_FILE} - entry.files
        if missing:
            raise ValueError(f"it does not list {sorted(missing)[0]!r:.60} among its files")
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{entry.folder / MANIFEST}: damaged: {error}. Delete the folder and prepare the corpus again"
        ) from None
    return Corpus(
        name=name,
        train_shards=tuple(entry.folder / shard for shard in facts.train_shards),
        val_shards=tuple(entry.folder / shard for shard in facts.val_shards),
        tokenizer=entry.folder / TOKENIZER_FILE,
        vocab_size=facts.vocab_size,
        shuffle_seed=shuffle_seed,
        raw_val_bytes=facts.val_text_bytes,
    )
