"""Training of a SentencePiece BPE tokenizer (arXiv 1808.06226) with the settings of the challenge's export.

BPE, byte fallback, digits split, nmt_nfkc normalisation, no dummy prefix, character coverage 0.999, pad 0, bos 1, eos
2, unk 3. All text is used, without sampling, in the given order and with a fixed number of threads, so the same text
gives the same model.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

import sentencepiece

from pgolf.errors import DataError

MIN_VOCAB_SIZE = 261  # 4 special pieces, 256 bytes and one character
MAX_VOCAB_SIZE = 65_536  # ids are 16 bits
_THREADS = 2
_MAX_SENTENCE_BYTES = 4192  # SentencePiece's own limit; it silently skips longer sentences


def train_bpe(sentences: Iterable[str], vocab_size: int, what: str) -> bytes:
    """A serialized SentencePiece model of exactly `vocab_size` pieces, trained on `sentences`.

    Raises DataError, which names the text as `what`, for an empty text or one that does not fit a vocabulary of this
    size. Sentences may have up to 4192 bytes.
    """
    lines = [line for line in (" ".join(sentence.split()) for sentence in sentences) if line]
    if not lines:
        raise DataError(f"{what}: there is no text to train a tokenizer on. Give a larger corpus")
    longest_bytes = max(len(line.encode()) for line in lines)
    assert longest_bytes <= _MAX_SENTENCE_BYTES, longest_bytes
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="nmt_nfkc",
            add_dummy_prefix=False,
            character_coverage=0.999,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(f"{what}: {_explain(str(error), vocab_size)}") from error
    return model.getvalue()


def _explain(message: str, vocab_size: int) -> str:
    """An error message of SentencePiece in plain words, with a remedy."""
    if match := re.search(r"set it to a value <= (\d+)", message):
        return (
            f"vocab_size {vocab_size} is too large for this text. Give a vocab_size of at most {match[1]}, or more text"
        )
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"vocab_size {vocab_size} is too small for the characters of this text. Give a vocab_size of at least "
            f"{match[1]}"
        )
    return (
        f"SentencePiece cannot train {vocab_size} pieces on this text ({message.strip()}). Change vocab_size or the "
        "text"
    )
