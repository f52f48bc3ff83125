"""SentencePiece tokenizers: documents to ids and back, and the table of the bytes of text per target.

A document is BOS followed by its SentencePiece ids, without EOS. Arrays are 1-D [N], N tokens; a table has V entries.
Bytes are UTF-8 bytes of the *normalised* text (NFKC, white space collapsed), which is what decoding returns. Source of
the table: the evaluation of the parameter-golf baseline.
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

SPACE = "\u2581"  # the character that stands for a space in a piece
_REPLACEMENT = "\ufffd"
_CHUNK_TOKENS = 2_000_000
_THREADS = 2


def load_tokenizer(path: Path) -> sentencepiece.SentencePieceProcessor:
    """The tokenizer in a SentencePiece .model file.

    Raises DataError if the file cannot be read, the model lacks a BOS piece, or bytes per token cannot be counted.
    """
    try:
        model = read_regular(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the tokenizer ({error.strerror}). Give the path of a SentencePiece .model file"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{path}: cannot read the tokenizer, {error}. Give the path of a SentencePiece .model file"
        ) from None
    return tokenizer_from(model, str(path))


def tokenizer_from(model: bytes, where: str) -> sentencepiece.SentencePieceProcessor:
    """`load_tokenizer` for a serialized model. where: its name in error messages."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model) if model else None
    except (RuntimeError, ValueError, OSError):
        processor = None
    if processor is None or processor.get_piece_size() < 1:
        raise DataError(
            f"{where}: not a SentencePiece model ({len(model):,} bytes). Give the .model file that made the shards"
        )
    if processor.bos_id() < 0:
        raise DataError(
            f"{where}: this tokenizer has no BOS piece, but documents begin with BOS. Train one with a BOS id"
        )
    if (reason := uncountable(processor)) is not None:
        raise DataError(f"{where}: {reason}, so bytes per token cannot be counted. Use another tokenizer")
    return processor


def uncountable(tokenizer: sentencepiece.SentencePieceProcessor) -> str | None:
    """The reason why a table of bytes per piece cannot count this tokenizer's text; None if no reason is found.

    Two properties are tested. A space that is encoded as byte tokens has one byte, but three tokens, and other
    characters share the first two. A word that is decoded with an additional space has one under
    treat_whitespace_as_suffix: decoding removes a dummy prefix, but not a dummy suffix.
    """
    if tokenizer.piece_to_id(SPACE) == tokenizer.unk_id() and any(
        map(tokenizer.is_byte, range(tokenizer.get_piece_size()))
    ):
        return "it has no piece for a single space, and spells one as three byte tokens"
    for index in _ordinary_pieces(tokenizer):
        word = tokenizer.decode([index])
        if word.isalnum() and (round_trip := tokenizer.decode(tokenizer.encode(word))).strip() == word:
            return None if round_trip == word else f"its text {word!r} is decoded as {round_trip!r}"
    return None


def _ordinary_pieces(tokenizer: sentencepiece.SentencePieceProcessor) -> Iterator[int]:
    """Ids of pieces with a text of their own: not control, unknown, unused or byte pieces."""
    special = (tokenizer.is_control, tokenizer.is_unknown, tokenizer.is_unused, tokenizer.is_byte)
    return (index for index in range(tokenizer.get_piece_size()) if not any(test(index) for test in special))


def load_tokenizer_of_size(path: Path, vocab_size: int) -> sentencepiece.SentencePieceProcessor:
    """`load_tokenizer`, which also raises DataError unless the model has exactly `vocab_size` pieces."""
    processor = load_tokenizer(path)
    if processor.get_piece_size() != vocab_size:
        raise DataError(
            f"{path}: {processor.get_piece_size()} pieces, but vocab_size is {vocab_size}."
            " Set data.vocab_size to the tokenizer's size or give the other tokenizer"
        )
    return processor


def drops_first_space(tokenizer: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether decoding drops a space at the beginning of a text, as it does for a dummy prefix. Tested by decoding one.

    False for add_dummy_prefix=false with remove_extra_whitespaces=false.
    """
    with_space = [index for index in _ordinary_pieces(tokenizer) if tokenizer.id_to_piece(index).startswith(SPACE)]
    if not with_space:
        return True
    longer = [index for index in with_space if tokenizer.id_to_piece(index).strip(SPACE)]
    return not tokenizer.decode(longer[:1] or [with_space[0], *_visible(tokenizer)]).startswith(" ")


def _visible(tokenizer: sentencepiece.SentencePieceProcessor) -> list[int]:
    """A list of one id whose text has no space, or an empty list if there is no such id."""
    return next(([index] for index in _ordinary_pieces(tokenizer) if SPACE not in tokenizer.id_to_piece(index)), [])


@dataclass(frozen=True)
class ByteTable:
    """Bytes per token id, as three arrays [V].

    base_bytes: int32, UTF-8 bytes of the piece without a leading space; 1 for a byte piece, 0 for control, unknown and
    unused ids. has_leading_space: whether the piece begins with a space. is_boundary: whether a leading space of the
    next piece is not text. That holds for control, unknown and unused ids if `drops_first_space`, else for no id.
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
        """Bytes of each target, int32 [N-1], for tokens [N]. Target i is token i+1, after token i.

        They are base_bytes of the target, plus 1 if it has a leading space and the token before is not a boundary.
        """
        return self.pair_bytes(tokens[:-1], tokens[1:])

    def pair_bytes(self, before: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Bytes of each target after the token `before` it, int32, in any shape."""
        return self.base_bytes[targets] + (self.has_leading_space[targets] & ~self.is_boundary[before])

    def total_bytes(self, tokens: np.ndarray) -> int:
        """The sum of `bytes_per_target`, computed in blocks to save memory."""
        starts = range(0, max(len(tokens) - 1, 0), _CHUNK_TOKENS)
        return sum(int(self.bytes_per_target(tokens[start : start + _CHUNK_TOKENS + 1]).sum()) for start in starts)

    def bytes_of_text(self, tokens: np.ndarray, bos: int) -> np.ndarray:
        """Bytes of every token, int32 [N]; the first one is counted as if BOS preceded it."""
        return self.pair_bytes(np.concatenate([np.array([bos], tokens.dtype), tokens[:-1]]), tokens)


def encode_documents(tokenizer: sentencepiece.SentencePieceProcessor, texts: Sequence[str]) -> list[np.ndarray]:
    """Each text as BOS + ids, uint16 [N]. U+2581 in a text is read as a space, which it would be decoded to."""
    clean = [text.replace(SPACE, " ") for text in texts]
    bos = tokenizer.bos_id()
    return [np.array([bos, *ids], dtype=np.uint16) for ids in tokenizer.encode(clean, num_threads=_THREADS)]


def decode_documents(tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray) -> Iterator[bytes]:
    """The UTF-8 text of each document in tokens [N], in order. A document begins at BOS, or at the first token.

    SentencePiece decodes, without the byte table. A control piece has an empty text; the tokens after it are decoded
    separately. If a slice of tokens cuts a character in two, the text has the bytes that are in the slice.
    """
    for _, _, texts in _decoded_blocks(tokenizer, tokens):
        yield from texts


def _decoded_blocks(
    tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, list[bytes]]]:
    """Tokens [N] in blocks of whole documents: (tokens, start positions of the documents, texts of the documents)."""
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
    """Decoding by SentencePiece, many documents at once."""

    def __init__(self, tokenizer: sentencepiece.SentencePieceProcessor) -> None:
        self.tokenizer = tokenizer
        self.is_control = np.array([tokenizer.is_control(index) for index in range(tokenizer.get_piece_size())])
        self.drops_first_space = drops_first_space(tokenizer)
        self.visible = _visible(tokenizer)

    def documents(self, tokens: np.ndarray, starts: np.ndarray) -> list[bytes]:
        """Texts of the documents that start at `starts`. Each is cut at its control ids, and the parts are decoded."""
        is_control = self.is_control[tokens]
        cuts = np.union1d(np.flatnonzero(is_control), starts)
        skips = is_control[cuts].tolist()  # only the first token of a part can be a control id
        segments = [part[skip:].tolist() for skip, part in zip(skips, np.split(tokens, cuts[1:]), strict=True)]
        owner = np.searchsorted(starts, cuts, side="right") - 1
        parts_of: list[list[bytes]] = [[] for _ in starts]
        for document, ids, text in zip(owner, segments, self.tokenizer.decode(segments), strict=True):
            ambiguous = _REPLACEMENT in text or (len(ids) > 1 and self.tokenizer.id_to_piece(ids[0]) == SPACE)
            content = self.decode_exactly(ids) if ambiguous else text.encode()
            parts_of[document].append(content.replace(SPACE.encode(), b" "))
        return [b"".join(parts) for parts in parts_of]

    def decode_exactly(self, ids: Sequence[int]) -> bytes:
        """The text of ids without a control id. Byte pieces give their bytes, even where these are not characters.

        At most one leading space is dropped as a dummy prefix, and never one from a byte piece. SentencePiece itself
        writes U+FFFD for invalid bytes, and drops all leading spaces.
        """
        parts, visible_text = [], self.tokenizer.decode(self.visible)
        for is_byte, run in itertools.groupby(ids, self.tokenizer.is_byte):
            if is_byte:
                parts.append(bytes(int(self.tokenizer.id_to_piece(index)[1:-1], 16) for index in run))
            else:
                parts.append(self.tokenizer.decode([*self.visible, *run]).removeprefix(visible_text).encode())
        text = b"".join(parts)
        return text.removeprefix(b" ") if self.drops_first_space and not self.tokenizer.is_byte(ids[0]) else text


def check_text(tokenizer: sentencepiece.SentencePieceProcessor, tokens: np.ndarray, what: str) -> tuple[int, str]:
    """Bytes of the N-1 targets of tokens [N] by the table, and the SHA-256 of the text, one line per document.

    For each document, the bytes by the table are compared with those of the text that SentencePiece decodes. Raises
    DataError, which names the tokens as `what`, if they differ, or if the tokens contain the unknown piece, whose text
    is lost. Only this text is checked: a tokenizer that is wrong about other characters passes.
    """
    unknown = int((tokens == tokenizer.unk_id()).sum()) if tokenizer.unk_id() >= 0 else 0
    if unknown:
        raise DataError(
            f"{what}: {unknown:,} of {len(tokens):,} tokens are the unknown piece, whose bytes are not known."
            " Encode with a tokenizer that has byte_fallback"
        )
    table, digest, total, number = ByteTable.of(tokenizer), hashlib.sha256(), 0, 0
    for block, starts, texts in _decoded_blocks(tokenizer, tokens):
        counts = np.add.reduceat(table.bytes_of_text(block, tokenizer.bos_id()), starts, dtype=np.int64)
        for count, text in zip(counts.tolist(), texts, strict=True):
            if count != len(text):
                raise DataError(
                    f"{what}: the byte table counts {count:,} bytes in document {number}, its decoded text has "
                    f"{len(text):,} ({text[:40].decode('utf-8', errors='replace')!r}). These tokens were made by "
                    "another tokenizer, or the table cannot count this one. Give the tokenizer of these tokens, or use "
                    "another"
                )
            digest.update(text + b"\n")
            total, number = total + count, number + 1
    # Token 0 is decoded, but it is not a target.
    untargeted = int(table.bytes_of_text(tokens[:1], tokenizer.bos_id()).sum())
    return total - untargeted, digest.hexdigest()
