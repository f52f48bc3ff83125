"""Static entropy coding of bytes with several tables: interleaved rANS in integers (arXiv 1311.2540, 1402.3392).

A table gives each byte value a frequency, and the frequencies of a table sum to 2^15. A symbol of frequency f takes
15 - log2(f) bits. Symbol i belongs to lane i mod L; each lane has a state of 32 bits and gives or takes words of 16
bits. All lanes advance together as one numpy array. No float takes part, so the bytes are the same on every machine.

A stream is the L states as uint32 and then the words as uint16, both little-endian, in the order of decoding.

Shapes: K tables, S = 256 byte values, N symbols, L lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgolf.errors import ArtifactError

Array = NDArray[Any]
BITS = 15
TOTAL = 1 << BITS
SYMBOLS = 256
SPARE = 8  # no symbol has more than TOTAL - SPARE, so that each costs at least 1 / 2839 bit: this bounds the expansion
LOW = 1 << 16  # a state lies in [2^16, 2^32)
MAX_LANES = 1024
LANE_SYMBOLS = 8192
SLICE = 1 << 20  # symbols whose table rows are looked up at once
FEW_LANES = 16  # up to here, symbol by symbol in Python integers is faster than all lanes at once in numpy
CUT = "the entropy-coded payload is cut"
NO_END = "the entropy-coded payload is damaged: it does not end where it should"


def lanes_of(n_symbols: int) -> int:
    """Number of lanes, a power of two: one per 8,192 symbols, at most 1,024. Each costs four bytes."""
    return min(MAX_LANES, 1 << max(0, (n_symbols // LANE_SYMBOLS).bit_length() - 1))


def normalise(weights_KS: Array) -> Array:
    """Frequencies [K, S] that sum to 2^15 per table. Each positive weight gets at least 1, and none 2^15 alone.

    weights: integers from 0 to 2^32; each table has a positive one.
    """
    weights = weights_KS.astype(np.int64)
    used = weights > 0
    room_K1 = TOTAL - used.sum(1, keepdims=True)
    freq = np.where(used, 1 + weights * room_K1 // weights.sum(1, keepdims=True), 0)
    rows = np.arange(len(freq))
    top_K = weights.argmax(1)
    freq[rows, top_K] += TOTAL - freq.sum(1)
    full = rows[freq[rows, top_K] > TOTAL - SPARE]
    moved_K = freq[full, top_K[full]] - (TOTAL - SPARE)
    freq[full, top_K[full]] -= moved_K
    freq[full, (top_K[full] + 1) % SYMBOLS] += moved_K
    return freq


def encode(symbols_N: Array, tables_N: Array, freq_KS: Array) -> bytes:
    """The stream of symbols (uint8) under the tables that `tables` names for each (uint8).

    Each symbol has a positive frequency in its table.
    """
    n, lanes = len(symbols_N), lanes_of(len(symbols_N))
    freq = freq_KS.astype(np.uint64).ravel()
    start = (freq_KS.cumsum(1) - freq_KS).astype(np.uint64).ravel()
    if lanes <= FEW_LANES:
        return _encode_few(symbols_N, tables_N, lanes, freq, start)
    state_L = np.full(lanes, LOW, np.uint64)
    words: list[Array] = []
    shift, limit_shift = np.uint64(BITS), np.uint64(32 - BITS)
    width = SLICE // lanes * lanes
    for begin in range((n - 1) // width * width if n else 0, -1, -width):
        at = tables_N[begin : begin + width].astype(np.int32) * SYMBOLS + symbols_N[begin : begin + width]
        freq_at, start_at = freq.take(at), start.take(at)
        for low in range((len(at) - 1) // lanes * lanes if len(at) else -1, -1, -lanes):
            f, first = freq_at[low : low + lanes], start_at[low : low + lanes]
            state = state_L[: len(f)]
            over = state >= f << limit_shift
            out = state[over]
            words.append(out.astype(np.uint16))
            state[over] = out >> np.uint64(16)
            whole = state // f
            state[:] = (whole << shift) + (state - whole * f) + first
    data = np.concatenate(words[::-1]) if words else np.empty(0, np.uint16)
    return state_L.astype("<u4").tobytes() + data.astype("<u2").tobytes()


def _encode_few(symbols_N: Array, tables_N: Array, lanes: int, freq: Array, start: Array) -> bytes:
    """The same stream, symbol by symbol. freq, start: of all tables, one after another."""
    at = tables_N.astype(np.int64) * SYMBOLS + symbols_N
    freq_of, start_of = freq.take(at).tolist(), start.take(at).tolist()
    states, words = [LOW] * lanes, []
    for i in range(len(freq_of) - 1, -1, -1):
        state, f = states[i % lanes], freq_of[i]
        if state >= f << 32 - BITS:
            words.append(state & 0xFFFF)
            state >>= 16
        whole, rest = divmod(state, f)
        states[i % lanes] = (whole << BITS) + rest + start_of[i]
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()


def decode(stream: bytes, tables_N: Array, freq_KS: Array) -> Array:
    """The symbols (uint8), one per entry of `tables`. Raises ArtifactError unless the stream ends exactly there.

    Takes one byte per symbol, and 36 KiB per table; below 262,144 symbols some 30 bytes per symbol.
    """
    n, lanes = len(tables_N), lanes_of(len(tables_N))
    if len(stream) < 4 * lanes or len(stream) % 2:
        raise ArtifactError(CUT)
    state_L = np.frombuffer(stream, "<u4", lanes).astype(np.uint64)
    words = np.frombuffer(stream, "<u2", offset=4 * lanes)
    symbol_of = np.concatenate([np.repeat(np.arange(SYMBOLS, dtype=np.uint8), row) for row in freq_KS])
    freq = freq_KS.astype(np.uint64).ravel()
    start = (freq_KS.cumsum(1) - freq_KS).astype(np.uint64).ravel()
    symbols = np.empty(n, np.uint8)
    position, shift, mask, low_limit = 0, np.uint64(BITS), np.uint64(TOTAL - 1), np.uint64(LOW)
    if state_L.min() < LOW:
        raise ArtifactError("the entropy-coded payload starts with an impossible state")
    if lanes <= FEW_LANES:
        return _decode_few(state_L, words, tables_N, symbol_of, freq, start)
    for low in range(0, n, lanes):
        table = tables_N[low : low + lanes].astype(np.int64)
        state = state_L[: len(table)]
        slot = state & mask
        symbol = symbol_of.take((table << BITS) + slot.astype(np.int64))
        symbols[low : low + lanes] = symbol
        at = (table << 8) + symbol
        state[:] = freq.take(at) * (state >> shift) + slot - start.take(at)
        under = (state < low_limit).nonzero()[0]
        taken = words[position : position + len(under)]
        if len(taken) < len(under):
            raise ArtifactError(CUT)
        state[under] = (state[under] << np.uint64(16)) | taken.astype(np.uint64)
        position += len(under)
    if position != len(words) or (state_L != low_limit).any():
        raise ArtifactError(NO_END)
    return symbols


def _decode_few(state_L: Array, words_W: Array, tables_N: Array, symbol_of: Array, freq: Array, start: Array) -> Array:
    """The same symbols, one by one. symbol_of, freq, start: of all tables, one after another."""
    states, words, lanes, mask = state_L.tolist(), words_W.tolist(), len(state_L), TOTAL - 1
    symbol_at, freq_of, start_of = symbol_of.tobytes(), freq.tolist(), start.tolist()
    symbols, position = bytearray(len(tables_N)), 0
    for i, table in enumerate(tables_N.tolist()):
        state = states[i % lanes]
        slot = state & mask
        symbols[i] = symbol = symbol_at[(table << BITS) + slot]
        at = (table << 8) + symbol
        state = freq_of[at] * (state >> BITS) + slot - start_of[at]
        if state < LOW:
            if position == len(words):
                raise ArtifactError(CUT)
            state = state << 16 | words[position]
            position += 1
        states[i % lanes] = state
    if position != len(words) or any(state != LOW for state in states):
        raise ArtifactError(NO_END)
    return np.frombuffer(symbols, np.uint8)


def log2_table(unit: int) -> Array:
    """[2^15 + 1] integers: unit * log2(f) for f >= 1, rounded down, by integer arithmetic alone. Entry 0 is 0."""
    numbers = np.maximum(np.arange(TOTAL + 1, dtype=np.uint64), 1)
    whole = np.zeros(TOTAL + 1, np.int64)
    for bit in range(1, BITS + 1):
        whole += numbers >= 1 << bit
    mantissa = numbers << (31 - whole).astype(np.uint64)  # in [2^31, 2^32)
    fraction = np.zeros(TOTAL + 1, np.int64)
    for _ in range(unit.bit_length() - 1):
        mantissa = (mantissa * mantissa) >> np.uint64(31)
        carry = mantissa >= 1 << 32
        mantissa = np.where(carry, mantissa >> np.uint64(1), mantissa)
        fraction = 2 * fraction + carry
    return whole * unit + fraction


def cost_of(freq_KS: Array, log2: Array, unused: int) -> Array:
    """Cost of each symbol in each table, in the unit of `log2`; `unused` for a symbol without a frequency."""
    return np.where(freq_KS > 0, log2[TOTAL] - log2[freq_KS], unused)
