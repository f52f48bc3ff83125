"""SentencePiece tokenizers: documents to ids and back, and the table that says how many bytes of text each target
stands for.

A document is BOS followed by its SentencePiece ids; no EOS. Arrays are 1-D [N], N tokens. The text that a tokenizer
stands for is the *normalised* text (whitespace collapsed, NFKC), which is what decoding gives; bytes are UTF-8 bytes of
that. Source of the table: the evaluation of the parameter-golf baseline.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

from pgolf.errors import DataError
from pgolf.machine.files import read_regular

SPACE = "\u2581"  # how a piece spells a space
_REPLACEMENT = "\ufffd"
_CHUNK_TOKENS = 2_000_000
_THREADS = 2


def load_tokenizer(path: Path) -> sentencepiece.SentencePieceProcessor:
    """The SentencePiece model in `path`. Raises DataError when it is missing, unreadable, has no BOS, or its text
    cannot be counted.
    """
    try:
        model = read_regular(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the tokenizer ({error.strerror}); give the path of a SentencePiece .model file"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{path}: cannot read the tokenizer, {error}; give the path of a SentencePiece .model file"
        ) from None
    return tokenizer_from(model, str(path))


def tokenizer_from(model: bytes, where: str) -> sentencepiece.SentencePieceProcessor:
    """As `load_tokenizer`, of a serialized model; `where` names it in the DataError."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model) if model else None
    except (RuntimeError, ValueError, OSError):
        processor = None
    if processor is None or processor.get_piece_size() < 1:
        raise DataError(
            f"{where}: not a SentencePiece model ({len(model):,} bytes); give the .model file that made the shards"
        )
    if processor.bos_id() < 0:
        raise DataError(
            f"{where}: this tokenizer has no BOS piece, and documents begin with BOS; train one with a BOS id"
        )
    if (reason := uncountable(processor)) is not None:
        raise DataError(f"{where}: {reason}, so that bytes per token cannot be counted; use another tokenizer")
    return processor


def uncountable(tokenizer: sentencepiece.SentencePieceProcessor) -> str | None:
    """Why no table of bytes per piece can count this tokenizer's text; None where nothing speaks against it.

    Two questions to the tokenizer itself. Can a space become byte tokens? It is one byte, but three tokens then, and
    other characters share the first two. Does a word come back with a space that it did not have? So it does under
    treat_whitespace_as_suffix with a dummy suffix, which decoding keeps, as it does not keep a dummy prefix.
    """
    if tokenizer.piece_to_id(SPACE) == tokenizer.unk_id() and any(
        map(tokenizer.is_byte, range(tokenizer.get_piece_size()))
    ):
        return "it has no piece for a single space, and spells one as three byte tokens"
    for index in _ordinary_pieces(tokenizer):
        word = tokenizer.decode([index])
        if word.isalnum() and (again := tokenizer.decode(tokenizer.encode(word))).strip() == word:
            return None if again == word else f"its text {word!r} is decoded as {again!r}"
    return None


def _ordinary_pieces(tokenizer: sentencepiece.SentencePieceProcessor) -> Iterator[int]:
    """Ids that stand for a text of their own: not control, unknown, unused or byte pieces."""
    special = (tokenizer.is_control, tokenizer.is_unknown, tokenizer.is_unused, tokenizer.is_byte)
    return (index for index in range(tokenizer.get_piece_size()) if not any(test(index) for test in special))


def load_tokenizer_of_size(path: Path, vocab_size: int) -> sentencepiece.SentencePieceProcessor:
    """As `load_tokenizer`; also raises DataError when the model has not exactly `vocab_size` pieces."""
    processor = load_tokenizer(path)
    if processor.get_piece_size() != vocab_size:
        raise DataError(
            f"{path}: {processor.get_piece_size()} pieces, but vocab_size is {vocab_size};"
            " set data.vocab_size to the tokenizer's size or give the other tokenizer"
        )
    return processor


def drops_first_space(tokenizer: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether a space that a text begins with is no part of it but the tokenizer's dummy prefix, asked by decoding such
    a text.

    False for add_dummy_prefix=false with remove_extra_whitespaces=false.
    """
    spaced = [index for index in _ordinary_pieces(tokenizer) if tokenizer.id_to_piece(index).startswith(SPACE)]
    if not spaced:
        return True
    longer = [index for index in spaced if tokenizer.id_to_piece(index).strip(SPACE)]
    return not tokenizer.decode(longer[:1] or [spaced[0], *_visible(tokenizer)]).startswith(" ")


def _visible(tokenizer: sentencepiece.SentencePieceProcessor) -> list[int]:
    """One id whose text begins and ends with no space, in a list; an empty list where there is none."""
    return next(([index] for index in _ordinary_pieces(tokenizer) if SPACE not in tokenizer.id_to_piece(index)), [])


@dataclass(frozen=True)
class ByteTable:
    """Bytes per token id; three arrays [V].

    base_bytes: int32, UTF-8 bytes of the piece without a leading space (1 for a byte piece; 0 for control, unknown and
    unused ids); has_leading_space: the piece begins with a space; is_boundary: control, unknown or unused, after which
    a leading space is not text (no id at all of a tokenizer whose texts may begin with a space, see
    `drops_first_space`).
    """

    base_bytes: np.ndarray
    has_leading_space: np.ndarray
    is_boundary: np.ndarray

    @staticmethod
    def of(tokenizer: sentencepiece.SentencePieceProcessor) -> ByteTable:
        """The table of a loaded tokenizer."""
        size, drops = tokenizer.get_piece_size(), drops_first_space(tokenizer)
        base, leads, boundary = np.zeros(size, np.int32), np.zeros(size, bool), np.zeros(size, bool)
        for index in range(size):
            if tokenizer.is_control(index) or tokenizer.is_unknown(index) or tokenizer.is_unused(index):
                boundary[index] = drops
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

        base_bytes of the target, plus 1 where it has a leading space and the token before is no boundary. Token 0 is no
        target.
        """
        return self.pair_bytes(tokens[:-1], tokens[1:])

    def pair_bytes(self, before: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Bytes of each target seen after the token `before` it, int32, any shape."""
        return self.base_bytes[targets] + (self.has_leading_space[targets] & ~self.is_boundary[before])

    def total_bytes(self, tokens: np.ndarray) -> int:
        """Sum of `bytes_per_target`, without holding it all in memory."""
        starts = range(0, max(len(tokens) - 1, 0), _CHUNK_TOKENS)
        return sum(int(self.bytes_per_target(tokens[start : start + _CHUNK_TOKENS + 1]).sum()) for start in starts)

    def bytes_of_text(self, tokens: np.ndarray, bos: int) -> np.ndarray:
        """Bytes of every token of tokens[N], int32 [N]; the first one is counted as after BOS."""
        return self.pair_bytes(np.concatenate([np.array([bos], tokens.dtype), tokens[:-1]]), tokens)


def encode_documents(tokenizer: sentencepiece.SentencePieceProcessor, texts: Sequence[str]) -> list[np.ndarray]:
    """Each text as BOS + ids, uint16 [n]. U+2581 in a text is read as the space that it would be decoded to."""
    clean = [text.replace(SPACE, " ") for text in texts]
    bos = tokenizer.bos_id()
    return [np.array([bos, *ids], dtype=np.uint16) for ids in tokenizer.encode(clean, num_threads=_THREADS)]


def decode_documents(tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray) -> Iterator[bytes]:
    """UTF-8 text of each document of tokens[N], in order. A document begins at BOS; what precedes the first BOS is one,
    too.

    SentencePiece decodes; no byte table is asked. A control piece stands for no text and ends one: what follows it is
    decoded by itself. A character that a slice cuts in two comes out as the bytes that are there.
    """
    for _, _, texts in _decoded_blocks(tokenizer, tokens):
        yield from texts


def _decoded_blocks(
    tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, list[bytes]]]:
    """tokens[N] in blocks of whole documents: (tokens, where documents start in them, texts of these documents)."""
    decoder = _Decoder(tokenizer)
    starts = np.flatnonzero(tokens == tokenizer.bos_id())
    if len(tokens) and (len(starts) == 0 or starts[0] != 0):
        starts = np.concatenate([[0], starts])
    ends = np.append(starts[1:], len(tokens))
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _CHUNK_TOKENS, side="right")))
        block, inside = tokens[starts[first] : ends[last - 1]], starts[first:last] - starts[first]
        yield block, inside, decoder.documents(block, inside)
        first = last


class _Decoder:
    """SentencePiece's decoding, of many documents at once."""

    def __init__(self, tokenizer: sentencepiece.SentencePieceProcessor) -> None:
        self.tokenizer = tokenizer
        self.is_control = np.array([tokenizer.is_control(index) for index in range(tokenizer.get_piece_size())])
        self.drops_first_space = drops_first_space(tokenizer)
        self.visible = _visible(tokenizer)

    def documents(self, tokens: np.ndarray, starts: np.ndarray) -> list[bytes]:
        """Texts of documents that start at `starts`; each is cut at its control ids and decoded piecewise."""
        is_control = self.is_control[tokens]
        cuts = np.union1d(np.flatnonzero(is_control), starts)
        skips = is_control[cuts].tolist()  # only the first token of a piece can be a control id
        segments = [part[skip:].tolist() for skip, part in zip(skips, np.split(tokens, cuts[1:]), strict=True)]
        owner = np.searchsorted(starts, cuts, side="right") - 1
        made: list[list[bytes]] = [[] for _ in starts]
        for document, ids, text in zip(owner, segments, self.tokenizer.decode(segments), strict=True):
            unsure = _REPLACEMENT in text or (len(ids) > 1 and self.tokenizer.id_to_piece(ids[0]) == SPACE)
            made[document].append((self.apart(ids) if unsure else text.encode()).replace(SPACE.encode(), b" "))
        return [b"".join(parts) for parts in made]

    def apart(self, ids: Sequence[int]) -> bytes:
        """Text of a run of ids, in which byte pieces stand for their bytes, whether these make characters or not.

        Only the first of several leading spaces may be a dummy prefix, and none that a byte piece spells. SentencePiece
        by itself writes U+FFFD and drops all leading spaces.
        """
        parts, shown = [], self.tokenizer.decode(self.visible)
        for is_byte, run in itertools.groupby(ids, self.tokenizer.is_byte):
            if is_byte:
                parts.append(bytes(int(self.tokenizer.id_to_piece(index)[1:-1], 16) for index in run))
            else:
                parts.append(self.tokenizer.decode([*self.visible, *run]).removeprefix(shown).encode())
        text = b"".join(parts)
        return text.removeprefix(b" ") if self.drops_first_space and not self.tokenizer.is_byte(ids[0]) else text


def check_text(tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray, what: str) -> tuple[int, str]:
    """Bytes of the N-1 targets of tokens[N] by the table, and the SHA-256 of their text, over one line per document.

    The table's bytes are compared, document by document, with those of the text that SentencePiece decodes.

    Raises DataError when they differ, or when tokens hold the unknown piece: its text is lost, so no byte count would
    be right. `what` names the tokens in the message. What is checked is this text: a tokenizer that errs on other
    characters passes.
    """
    unknown = int((tokens == tokenizer.unk_id()).sum()) if tokenizer.unk_id() >= 0 else 0
    if unknown:
        raise DataError(
            f"{what}: {unknown:,} of {len(tokens):,} tokens are the unknown piece, whose bytes nobody knows;"
            " encode with a tokenizer that has byte_fallback"
        )
    table, digest, total, number = ByteTable.of(tokenizer), hashlib.sha256(), 0, 0
    for block, starts, texts in _decoded_blocks(tokenizer, tokens):
        counted = np.add.reduceat(table.bytes_of_text(block, tokenizer.bos_id()), starts, dtype=np.int64)
        for count, text in zip(counted.tolist(), texts, strict=True):
            if count != len(text):
                raise DataError(
                    f"{what}: the byte table counts {count:,} bytes in document {number}, its decoded text has "
                    f"{len(text):,}"
                    f" ({text[:40].decode('utf-8', errors='replace')!r}); these tokens were not made by this "
                    "tokenizer, or it spells"
                    " text in a way that the table cannot count"
                )
            digest.update(text + b"\n")
            total, number = total + count, number + 1
    # Token 0 is decoded, but it is not a target.
    untargeted = int(table.bytes_of_text(tokens[:1], tokenizer.bos_id()).sum())
    return total - untargeted, digest.hexdigest()
