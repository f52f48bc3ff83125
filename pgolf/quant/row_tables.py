"""The codec `entropy`: a payload as rows of bytes, each coded with one of a few tables that similar rows share.

The rows of a weight matrix have unequal spreads, so that one table for all of them wastes bits. Rows are clustered by
the table that codes them best (Lloyd's algorithm on code lengths; clusters are split in two until it no longer pays).
Tables and the choice of each row are part of the stream, and their price is part of that decision. Numbers of more than
one byte are coded plane by plane: first all first bytes, then all second ones. A matrix of single bytes is coded column
by column where its columns are more unequal than its rows. All arithmetic is in integers, or in floats that hold
integers exactly.

Stream:

    what                                                         type
    is the array coded by columns: one bit per array             whole bytes
    number of tables K                                           uint8
    weights of the table of choices                              K uint8
    entries of the table of steps, their number less one first   uint8, then (step, weight) as two uint8
    length of the next part                                      uint32
    rANS stream of the tables and of the choices of all rows     the tables as steps from one byte value to the next
    rANS stream of the payload                                   to the end

A weight is a uint8 q: 0, or (8 + (q - 1) mod 8) * 2^((q - 1) div 8), which has a relative step of at most 1/8.

Shapes: K tables, S = 256 byte values, R rows, N bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from pgolf.errors import ArtifactError
from pgolf.quant import rans
from pgolf.quant.rans import SYMBOLS, Array
from pgolf.quant.spans import Span

UNIT = 256  # code lengths are counted in 1/256 bit: then the sum over a row is below 2^24, exact in fp32
UNUSED = 16 * UNIT - 1  # the code length of a byte value that a table lacks, for comparisons
BLOCK_ROWS = 4000  # rows of counts that are summed at once: below 2^24, exact in fp32
MAX_LEVEL = 7
ROUNDS = 3
STEPS = 17 * 8  # weights in use: the largest is 15 * 2^16
TOP = 15 << 16
WEIGHTS = np.concatenate([[0], (8 + np.arange(256 - 1) % 8) << np.minimum(np.arange(256 - 1) // 8, 16)])
LENGTH = struct.Struct("<I")


def pack(payload: bytes, spans: Sequence[Span], level: int) -> bytes:
    """The payload with at most 2^level tables. The spans are its arrays from end to end."""
    if not payload:
        return b""
    turned = [_by_columns(payload, at, span) for at, span in _placed(spans)]
    planes, lengths_R = _planes(payload, spans, turned), _row_lengths(spans, turned)
    counts_RS = _counts(planes, np.repeat(np.arange(len(lengths_R), dtype=np.int32), lengths_R), len(lengths_R))
    choice_R, q_KS = _cluster(counts_RS, level)
    head, meta = _pack_tables(q_KS, choice_R)
    body = rans.encode(planes, np.repeat(choice_R, lengths_R), rans.normalise(WEIGHTS[q_KS]))
    return np.packbits(turned).tobytes() + head + LENGTH.pack(len(meta)) + meta + body


def unpack(packed: bytes, spans: Sequence[Span]) -> bytes:
    """The payload. Raises ArtifactError for a stream that `pack` does not write."""
    if not spans or not sum(span.count for span in spans):
        if packed:
            raise ArtifactError("an empty payload has bytes")
        return b""
    reader = _Reader(packed)
    bits = np.unpackbits(np.frombuffer(reader.take(-(-len(spans) // 8)), np.uint8), count=len(spans))
    turned = [bool(bit) for bit in bits]
    if any(turn and not _is_matrix(span) for turn, span in zip(turned, spans, strict=True)):
        raise ArtifactError("an array of the entropy-coded payload cannot be coded by columns")
    lengths_R = _row_lengths(spans, turned)
    n_tables = reader.byte()
    if not 1 <= n_tables <= 1 << MAX_LEVEL:
        raise ArtifactError(f"the entropy-coded payload has {n_tables} tables")
    q_2S = np.zeros((2, SYMBOLS), np.int64)
    q_2S[1, :n_tables] = np.frombuffer(reader.take(n_tables), np.uint8)
    pairs = np.frombuffer(reader.take(2 * (reader.byte() + 1)), np.uint8)
    q_2S[0, pairs[::2]] = pairs[1::2]
    meta = reader.take(LENGTH.unpack(reader.take(LENGTH.size))[0])
    n_steps = n_tables * SYMBOLS
    kinds = np.repeat(np.array([0, 1], np.uint8), [n_steps, len(lengths_R)])
    numbers = rans.decode(meta, kinds, _frequencies(q_2S))
    q_KS = _from_steps(numbers[:n_steps].reshape(n_tables, SYMBOLS))
    choice_R = numbers[n_steps:]
    if choice_R.max() >= n_tables:
        raise ArtifactError("a row of the entropy-coded payload has no table")
    planes = rans.decode(reader.rest(), np.repeat(choice_R, lengths_R), _frequencies(q_KS))
    return _joined(planes, spans, turned)


class _Reader:
    """Takes bytes from the front of a stream. Raises ArtifactError where they are missing."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise ArtifactError("the entropy-coded payload is cut")
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def rest(self) -> bytes:
        return self.data[self.at :]


def _frequencies(q_KS: Array) -> Array:
    weights_KS = WEIGHTS[q_KS]
    if not weights_KS.any(1).all():
        raise ArtifactError("a table of the entropy-coded payload is empty")
    return rans.normalise(weights_KS)


def _placed(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """The spans with their offsets."""
    at = 0
    for span in spans:
        yield at, span
        at += span.item_bytes * span.count


def _is_matrix(span: Span) -> bool:
    return span.item_bytes == 1 and 1 < span.columns < span.count and span.count % span.columns == 0


def _by_columns(payload: bytes, at: int, span: Span) -> bool:
    """Whether the sums of |code| vary more from column to column than from row to row, relative to their mean."""
    if not _is_matrix(span):
        return False
    sizes = np.abs(np.frombuffer(payload, np.int8, span.count, at).astype(np.int16)).reshape(-1, span.columns)
    by_row, by_column = (sum(n * n for n in sizes.sum(axis, dtype=np.int64).tolist()) for axis in (1, 0))
    return by_column * span.columns > by_row * (span.count // span.columns)


def _row_lengths(spans: Sequence[Span], turned: Sequence[bool]) -> Array:
    lengths: list[int] = []
    for span, turn in zip(spans, turned, strict=True):
        coded = Span(1, span.count, span.count // span.columns) if turn else span
        lengths += coded.rows() * span.item_bytes
    return np.array(lengths, np.int64)


def _planes(payload: bytes, spans: Sequence[Span], turned: Sequence[bool]) -> Array:
    """The bytes in the order of coding: each span plane by plane, or column by column."""
    data = np.frombuffer(payload, np.uint8)
    planes = np.empty(len(data), np.uint8)
    for (at, span), turn in zip(_placed(spans), turned, strict=True):
        n, width = span.item_bytes * span.count, span.columns if turn else span.item_bytes
        planes[at : at + n] = data[at : at + n].reshape(-1, width).T.ravel()
    return planes


def _joined(planes: Array, spans: Sequence[Span], turned: Sequence[bool]) -> bytes:
    """Undoes `_planes`."""
    for (at, span), turn in zip(_placed(spans), turned, strict=True):
        n, width = span.item_bytes * span.count, span.columns if turn else span.item_bytes
        if n and width > 1:
            planes[at : at + n] = planes[at : at + n].reshape(width, -1).T.ravel()
    return planes.tobytes()


def _counts(planes_N: Array, rows_N: Array, n_rows: int) -> Array:
    """How often each byte value occurs in each row, [R, S], fp32 (exact)."""
    counts = np.zeros(n_rows * SYMBOLS, np.float32)
    for low in range(0, len(planes_N), rans.SLICE):
        rows = rows_N[low : low + rans.SLICE]
        first, last = int(rows[0]), int(rows[-1]) + 1
        at = (rows - first) * SYMBOLS + planes_N[low : low + rans.SLICE]
        counts[first * SYMBOLS : last * SYMBOLS] += np.bincount(at, minlength=(last - first) * SYMBOLS)
    return counts.reshape(n_rows, SYMBOLS)


def _cluster(counts_RS: Array, level: int) -> tuple[Array, Array]:
    """(the table of each row [R] uint8, the tables as q [K, S]): of all numbers of tables tried, the fewest bytes."""
    used = counts_RS.any(0)
    counts_RU = np.ascontiguousarray(counts_RS[:, used])
    log2, length_R = rans.log2_table(UNIT), counts_RU.sum(1, dtype=np.int64)
    choice_R: Array = np.zeros(len(counts_RS), np.int64)
    q_KU = _quantised(counts_RU, choice_R)
    cost_R = _assign(counts_RU, q_KU, choice_R, log2)[1]
    best_bits, best = _bits(cost_R, q_KU), (choice_R, q_KU)
    for _ in range(level):
        choice_R = _split(choice_R, cost_R, length_R)
        for _ in range(ROUNDS):
            choice_R = np.unique(choice_R, return_inverse=True)[1]  # a table that no row has chosen is dropped
            choice_R, cost_R = _assign(counts_RU, _quantised(counts_RU, choice_R), choice_R, log2)
        choice_R = np.unique(choice_R, return_inverse=True)[1]
        q_KU = _quantised(counts_RU, choice_R)
        if (bits := _bits(cost_R, q_KU)) >= best_bits:
            break
        best_bits, best = bits, (choice_R, q_KU)
    choice_R, q_KU = best
    q_KS = np.zeros((len(q_KU), SYMBOLS), np.int64)
    q_KS[:, used] = q_KU
    return choice_R.astype(np.uint8), q_KS


def _quantised(counts_RU: Array, choice_R: Array) -> Array:
    """The table of each cluster as q [K, U]. Every cluster has a row."""
    order = choice_R.argsort(kind="stable")
    starts = np.searchsorted(choice_R[order], np.arange(int(choice_R.max()) + 2)).tolist()
    sorted_RU, sums = counts_RU[order], np.zeros((len(starts) - 1, counts_RU.shape[1]), np.int64)
    for cluster, (first, last) in enumerate(pairwise(starts)):
        for low in range(first, last, BLOCK_ROWS):
            block = sorted_RU[low : min(low + BLOCK_ROWS, last)]
            sums[cluster] += (np.ones(len(block), np.float32) @ block).astype(np.int64)
    target = np.maximum(sums * TOP // sums.max(1, keepdims=True), 8)
    middle = (WEIGHTS[1:STEPS] + WEIGHTS[2 : STEPS + 1]) // 2
    return np.where(sums > 0, 1 + np.searchsorted(middle, target), 0)


def _assign(counts_RU: Array, q_KU: Array, choice_R: Array, log2: Array) -> tuple[Array, Array]:
    """The cheapest table of each row and its cost, the choice itself included."""
    freq_KU = rans.normalise(WEIGHTS[np.pad(q_KU, ((0, 0), (0, SYMBOLS - q_KU.shape[1])))])[:, : q_KU.shape[1]]
    cost_UK = rans.cost_of(freq_KU, log2, UNUSED).astype(np.float32).T
    share_K = np.bincount(choice_R, minlength=len(q_KU)) * rans.TOTAL // len(choice_R)
    cost_RK = counts_RU @ cost_UK
    cost_RK += (log2[rans.TOTAL] - log2[np.maximum(share_K, 1)]).astype(np.float32)
    choice = cost_RK.argmin(1)
    return choice, cost_RK[np.arange(len(choice)), choice]


def _split(choice_R: Array, cost_R: Array, length_R: Array) -> Array:
    """Two clusters of each: rows at or below the median of bits per byte, and rows above."""
    rate_R = cost_R.astype(np.int64) * 64 // length_R
    halves = 2 * choice_R
    for cluster in range(int(choice_R.max()) + 1):
        members = (choice_R == cluster).nonzero()[0]
        halves[members[rate_R[members] > np.sort(rate_R[members])[(len(members) - 1) // 2]]] += 1
    return halves


def _bits(cost_R: Array, q_KU: Array) -> int:
    """An estimate of the size of the stream: the rows, and half a byte per entry of the tables."""
    return int(cost_R.sum(dtype=np.float64)) // UNIT + 4 * q_KU.size


def _steps(q_KS: Array) -> Array:
    """Differences from one byte value to the next, modulo 256, in the order of signed values."""
    signed = np.roll(q_KS, SYMBOLS // 2, axis=1)
    return np.diff(signed, axis=1, prepend=0).astype(np.uint8)


def _from_steps(steps_KS: Array) -> Array:
    signed = steps_KS.cumsum(1, dtype=np.uint8)
    return np.roll(signed, SYMBOLS // 2, axis=1).astype(np.int64)


def _pack_tables(q_KS: Array, choice_R: Array) -> tuple[bytes, bytes]:
    """The head of the stream, and its second part."""
    steps = _steps(q_KS).ravel()
    counts_2S = np.stack([np.bincount(values, minlength=SYMBOLS) for values in (steps, choice_R)])
    q_2S = _quantised(counts_2S, np.arange(2))
    present = q_2S[0].nonzero()[0]
    pairs = np.stack([present, q_2S[0, present]], 1).astype(np.uint8)
    head = bytes([len(q_KS), *q_2S[1, : len(q_KS)].tolist(), len(present) - 1]) + pairs.tobytes()
    kinds = np.repeat(np.array([0, 1], np.uint8), [len(steps), len(choice_R)])
    symbols = np.concatenate([steps, choice_R.astype(np.uint8)])
    return head, rans.encode(symbols, kinds, rans.normalise(WEIGHTS[q_2S]))
