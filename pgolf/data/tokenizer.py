"""SentencePiece tokenizers: documents to ids and back, and the table that says how many bytes of text each target stands for.

A document is BOS followed by its SentencePiece ids; no EOS. Arrays are 1-D [N], N tokens. The text that a tokenizer stands for is the
*normalised* text (whitespace collapsed, NFKC), which is what decoding gives; bytes are UTF-8 bytes of that.
Source of the table: the evaluation of the parameter-golf baseline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

from pgolf.errors import DataError

SPACE = "\u2581"  # how a piece spells a space
_REPLACEMENT = "\ufffd"
_CHUNK_TOKENS = 2_000_000
_THREADS = 2


def load_tokenizer(path: Path) -> sentencepiece.SentencePieceProcessor:
    """The SentencePiece model in `path`. Raises DataError when it is missing, unreadable or has no BOS."""
    try:
        model = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the tokenizer ({error.strerror}); give the path of a SentencePiece .model file") from error
    return tokenizer_from(model, str(path))


def tokenizer_from(model: bytes, where: str) -> sentencepiece.SentencePieceProcessor:
    """As `load_tokenizer`, of a serialized model; `where` names it in the DataError."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model) if model else None
    except (RuntimeError, ValueError, OSError):
        processor = None
    if processor is None or processor.get_piece_size() < 1:
        raise DataError(f"{where}: not a SentencePiece model ({len(model):,} bytes); give the .model file that made the shards")
    if processor.bos_id() < 0:
        raise DataError(f"{where}: this tokenizer has no BOS piece, and documents begin with BOS; train one with a BOS id")
    return processor


def load_tokenizer_of_size(path: Path, vocab_size: int) -> sentencepiece.SentencePieceProcessor:
    """As `load_tokenizer`; also raises DataError when the model has not exactly `vocab_size` pieces."""
    processor = load_tokenizer(path)
    if processor.get_piece_size() != vocab_size:
        raise DataError(
            f"{path}: {processor.get_piece_size()} pieces, but vocab_size is {vocab_size};"
            " set data.vocab_size to the tokenizer's size or give the other tokenizer"
        )
    return processor


@dataclass(frozen=True)
class ByteTable:
    """Bytes per token id; three arrays [V].

    base_bytes: int32, UTF-8 bytes of the piece without a leading space (1 for a byte piece; 0 for control, unknown and unused ids);
    has_leading_space: the piece begins with a space; is_boundary: control, unknown or unused, after which a leading space is not text.
    """

    base_bytes: np.ndarray
    has_leading_space: np.ndarray
    is_boundary: np.ndarray

    @staticmethod
    def of(tokenizer: sentencepiece.SentencePieceProcessor) -> ByteTable:
        """The table of a loaded tokenizer."""
        size = tokenizer.get_piece_size()
        base, leads, boundary = np.zeros(size, np.int32), np.zeros(size, bool), np.zeros(size, bool)
        for index in range(size):
            if tokenizer.is_control(index) or tokenizer.is_unknown(index) or tokenizer.is_unused(index):
                boundary[index] = True
            elif tokenizer.is_byte(index):
                base[index] = 1
            else:
                piece = tokenizer.id_to_piece(index)
                leads[index] = piece.startswith(SPACE)
                base[index] = len(piece.removeprefix(SPACE).replace(SPACE, " ").encode())
        return ByteTable(base, leads, boundary)

    @property
    def vocab_size(self) -> int:
        return len(self.base_bytes)

    def bytes_per_target(self, tokens: np.ndarray) -> np.ndarray:
        """Bytes of each target, int32 [N-1], for tokens [N]: target i is token i+1, seen after token i.

        base_bytes of the target, plus 1 where it has a leading space and the token before is no boundary. Token 0 is no target.
        """
        return self.pair_bytes(tokens[:-1], tokens[1:])

    def pair_bytes(self, before: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Bytes of each target seen after the token `before` it, int32, any shape."""
        return self.base_bytes[targets] + (self.has_leading_space[targets] & ~self.is_boundary[before])

    def total_bytes(self, tokens: np.ndarray) -> int:
        """Sum of `bytes_per_target`, without holding it all in memory."""
        starts = range(0, max(len(tokens) - 1, 0), _CHUNK_TOKENS)
        return sum(int(self.bytes_per_target(tokens[start : start + _CHUNK_TOKENS + 1]).sum()) for start in starts)


def encode_documents(tokenizer: sentencepiece.SentencePieceProcessor, texts: Sequence[str]) -> list[np.ndarray]:
    """Each text as BOS + ids, uint16 [n]. U+2581 in a text is read as the space that it would be decoded to."""
    clean = [text.replace(SPACE, " ") for text in texts]
    bos = tokenizer.bos_id()
    return [np.array([bos, *ids], dtype=np.uint16) for ids in tokenizer.encode(clean, num_threads=_THREADS)]


def decode_documents(tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray) -> Iterator[bytes]:
    """UTF-8 text of each document of tokens[N], in order. A document begins at BOS; what precedes the first BOS is one, too.

    Control, unknown and unused ids stand for no bytes, and a space right after one is dropped, as the byte table has it. A character
    that a slice cuts in two comes out as the bytes that are there.
    """
    bos = tokenizer.bos_id()
    table = ByteTable.of(tokenizer)
    starts = np.flatnonzero(tokens == bos)
    if len(tokens) and (len(starts) == 0 or starts[0] != 0):
        starts = np.concatenate([[0], starts])
    ends = np.append(starts[1:], len(tokens))
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _CHUNK_TOKENS, side="right")))
        yield from _decode_block(tokenizer, table, tokens[starts[first] : ends[last - 1]], starts[first:last] - starts[first])
        first = last


def _decode_block(
    tokenizer: sentencepiece.SentencePieceProcessor, table: ByteTable, tokens: np.ndarray, starts: np.ndarray
) -> Iterator[bytes]:
    """`decode_documents` of a block whose documents start at `starts`; each is cut at its boundary ids and decoded piecewise."""
    boundaries = np.flatnonzero(table.is_boundary[tokens])
    cuts = np.union1d(boundaries, starts)
    skips = table.is_boundary[tokens[cuts]].tolist()  # only the first token of a piece can be a boundary
    segments = [part[skip:].tolist() for skip, part in zip(skips, np.split(tokens, cuts[1:]), strict=True)]
    owner = np.searchsorted(starts, cuts, side="right") - 1
    documents: list[list[bytes]] = [[] for _ in starts]
    for document, ids, text in zip(owner, segments, tokenizer.decode(segments), strict=True):
        unsure = _REPLACEMENT in text or (len(ids) > 1 and tokenizer.id_to_piece(ids[0]) == SPACE)
        documents[document].append(_join_pieces(tokenizer, ids) if unsure else text.encode())
    for parts in documents:
        yield b"".join(parts)


def _join_pieces(tokenizer: sentencepiece.SentencePieceProcessor, ids: Sequence[int]) -> bytes:
    """Bytes of a run of pieces, one by one: for incomplete characters and for runs that begin with several spaces."""
    parts = []
    for index in ids:
        piece = tokenizer.id_to_piece(index)
        parts.append(bytes([int(piece[1:-1], 16)]) if tokenizer.is_byte(index) else piece.replace(SPACE, " ").encode())
    return b"".join(parts).removeprefix(b" ") if ids and tokenizer.id_to_piece(ids[0]).startswith(SPACE) else b"".join(parts)


def check_text(tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray, what: str) -> tuple[int, str]:
    """Bytes of the N-1 targets of tokens[N] by the table, checked against the decoded text, and that text's SHA-256.

    The hash is over one line per document; decoded text holds no line ends.
    Raises DataError when they differ, or when tokens hold the unknown piece: its text is lost, so no byte count would be right.
    `what` names the tokens in the message.
    """
    unknown = int((tokens == tokenizer.unk_id()).sum()) if tokenizer.unk_id() >= 0 else 0
    if unknown:
        raise DataError(
            f"{what}: {unknown:,} of {len(tokens):,} tokens are the unknown piece, whose bytes nobody knows;"
            " encode with a tokenizer that has byte_fallback"
        )
    table = ByteTable.of(tokenizer)
    by_table = table.total_bytes(tokens)
    decoded, digest = 0, hashlib.sha256()
    for text in decode_documents(tokenizer, tokens):
        decoded += len(text)
        digest.update(text + b"\n")
    untargeted = int(table.base_bytes[tokens[0]]) if len(tokens) else 0  # token 0 is decoded, but it is no target
    if by_table != decoded - untargeted:
        raise DataError(
            f"{what}: the byte table counts {by_table:,} bytes, the decoded text has {decoded - untargeted:,};"
            " these tokens were not made by this tokenizer, or it spells spaces in a way that the table cannot count"
        )
    return by_table, digest.hexdigest()
