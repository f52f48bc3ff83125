"""Windows of one token array that also occur in another, at any offset, found by vectorised rolling hashes.

The hash of a window of 2k tokens is computed from the hashes of its two halves, so 64 tokens take six passes over the
array. Hashes have 64 bits. Between 10 million and 200,000 windows, a false match has probability 1e-7; its only effect
would be that the caller removes one paragraph too many.
"""

from __future__ import annotations

import numpy as np

_BLOCK_TOKENS = 8_000_000
_FILTER_BITS = 22  # of a table that excludes most windows without a search


def window_hashes(tokens: np.ndarray, window_tokens: int) -> np.ndarray:
    """The hash of every window of `window_tokens` tokens, uint64 [N - window_tokens + 1]; empty if N is smaller."""
    assert window_tokens >= 1, window_tokens
    count = len(tokens) - window_tokens + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    doubled = _mix(tokens.astype(np.uint64) + np.uint64(1))
    result: np.ndarray | None = None
    covered, length = 0, 1
    while True:
        if window_tokens & length:
            part = doubled[covered : covered + count]
            result = part if result is None else _join(result, part)
            covered += length
        if covered == window_tokens:
            return np.asarray(result)
        doubled = _join(doubled[:-length], doubled[length:])
        length *= 2


def shared_windows(haystack: np.ndarray, needles: np.ndarray, window_tokens: int) -> np.ndarray:
    """Start positions in `haystack` of the windows that occur anywhere in `needles`, int64, ascending."""
    needle_hashes = np.unique(window_hashes(needles, window_tokens))
    if not len(needle_hashes):
        return np.empty(0, dtype=np.int64)
    possible = np.zeros(1 << _FILTER_BITS, dtype=bool)
    possible[_filter_index(needle_hashes)] = True
    positions = []
    for start in range(0, len(haystack), _BLOCK_TOKENS):
        hashes = window_hashes(haystack[start : start + _BLOCK_TOKENS + window_tokens - 1], window_tokens)
        candidates = np.flatnonzero(possible[_filter_index(hashes)])
        positions.append(start + candidates[np.isin(hashes[candidates], needle_hashes)])
    return np.concatenate(positions) if positions else np.empty(0, dtype=np.int64)


def _filter_index(hashes: np.ndarray) -> np.ndarray:
    """The highest _FILTER_BITS bits of each hash, int64."""
    return (hashes >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)


def _join(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The hash of two adjacent windows; the order matters."""
    return _mix(left * np.uint64(0x9E3779B97F4A7C15) + right)


def _mix(value: np.ndarray) -> np.ndarray:
    """One round of a multiply-xorshift mixer on uint64 (arithmetic modulo 2^64)."""
    value = (value ^ (value >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(29))
