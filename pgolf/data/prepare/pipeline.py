"""From documents to a corpus in a folder: de-duplicate, split, train the tokenizer, encode, remove overlaps, write
shards.

What both `docs` and `text` share. The validation text depends on the documents and the fraction alone, never on the
vocabulary. The tokenizer sees the training part only. Leaks are closed on the training side: a training unit in the
middle of a 64-token window that also stands in the validation tokens, at any offset, is removed from the text, and
again until no such window is left. So validation stays what it was, and its byte table stays exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sentencepiece

from pgolf.data.prepare.bpe import train_bpe
from pgolf.data.prepare.cache import MANIFEST, Entry
from pgolf.data.prepare.documents import Document, deduplicate, split
from pgolf.data.prepare.overlap import shared_windows
from pgolf.data.progress import say
from pgolf.data.shards import concatenated, write_shards
from pgolf.data.tokenizer import check_text, encode_documents, tokenizer_from
from pgolf.errors import DataError
from pgolf.machine.files import write_whole
from pgolf.machine.typed import typed
from pgolf.slots import Corpus

PIPELINE_VERSION = 1  # enters every cache key: raise it when the same text would give other tokens
WINDOW_TOKENS = 64
TOKENIZER_FILE = "tokenizer.model"


def pipeline_key(vocab_size: int, val_fraction: float) -> dict[str, object]:
    """What a corpus made by `build` depends on besides its documents."""
    return {
        "pipeline": PIPELINE_VERSION,
        "sentencepiece": version("sentencepiece"),
        "val_fraction": val_fraction,
        "vocab_size": vocab_size,
        "window_tokens": WINDOW_TOKENS,
    }


def build(
    folder: Path, name: str, documents: Sequence[Document], *, vocab_size: int, val_fraction: float, what: str
) -> dict[str, object]:
    """Write tokenizer and shards of `documents` into `folder` and return the facts for the manifest.

    Shards are named after `name`. Raises DataError, beginning with `what`, for text that is too small for the
    vocabulary or for a split.
    """
    unique, repeated = deduplicate(documents)
    train, val = split(unique, val_fraction, what)
    say(
        f"  training a tokenizer of {vocab_size} pieces on {sum(each.size_bytes for each in train):,} bytes of text ..."
    )
    model = train_bpe((unit for each in train for unit in each.units), vocab_size, what)
    tokenizer = tokenizer_from(model, what)
    say("  encoding, and removing from training what also stands in validation ...")
    val_tokens = concatenated(encode_documents(tokenizer, [each.text for each in val]))
    train, encoded, removed = remove_overlap(tokenizer, train, val_tokens)
    if not train:
        raise DataError(
            f"{what}: nothing is left to train on, all of it stands in the validation text too; give more varied text"
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


def remove_overlap(
    tokenizer: sentencepiece.SentencePieceProcessor, train: Sequence[Document], val_tokens: np.ndarray
) -> tuple[list[Document], list[np.ndarray], int]:
    """Training documents without any window of WINDOW_TOKENS tokens of val_tokens, their tokens, and the number of
    units removed.

    Of each shared window the unit in its middle goes; documents are re-encoded and searched again until none is shared.
    Ends because each round removes a unit.
    """
    documents, removed = list(train), 0
    encoded = encode_documents(tokenizer, [each.text for each in documents])
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
            doomed = _units_at(tokenizer, documents[index], encoded[index], offsets)
            removed += len(doomed)
            kept = tuple(unit for place, unit in enumerate(documents[index].units) if place not in doomed)
            documents[index] = Document(documents[index].name, kept)
        for index, fresh in zip(
            changed, encode_documents(tokenizer, [documents[index].text for index in changed]), strict=True
        ):
            encoded[index] = fresh
        filled = [index for index, each in enumerate(documents) if each.units]
        documents, encoded = [documents[index] for index in filled], [encoded[index] for index in filled]
    return documents, encoded, removed


def _units_at(
    tokenizer: sentencepiece.SentencePieceProcessor, document: Document, tokens: np.ndarray, offsets: np.ndarray
) -> set[int]:
    """Indices of the units of `document` in which the tokens at `offsets` stand, found by bytes of normalised text.

    Where normalising across a cut moves a byte this can be a neighbour; the search that follows corrects it.
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
    """What `build` notes of a corpus and a run needs."""

    train_shards: tuple[str, ...]
    val_shards: tuple[str, ...]
    vocab_size: int
    val_text_bytes: int


def corpus_of(entry: Entry, name: str, shuffle_seed: int | None) -> Corpus:
    """The corpus that lies in a cache entry made by `build`. Raises DataError where its manifest says otherwise."""
    try:
        facts = typed(
            Facts,
            {key: entry.facts[key] for key in ("train_shards", "val_shards", "vocab_size", "val_text_bytes")},
            "facts",
        )
        absent = {*facts.train_shards, *facts.val_shards, TOKENIZER_FILE} - entry.files
        if absent:
            raise ValueError(f"it does not list {sorted(absent)[0]!r:.60} among its files")
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{entry.folder / MANIFEST}: damaged: {error}; delete the folder and prepare the corpus again"
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
