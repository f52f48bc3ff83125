"""The entropy coder: round trip, size, integer logarithms, and refused streams."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgolf.errors import ArtifactError
from pgolf.quant import rans

QUICK = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def sample(seed: int, n: int, n_tables: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols, their tables, and frequencies that fit them."""
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, n_tables, n).astype(np.uint8)
    symbols = (rng.normal(0, 1 + 9 * tables, n).round().astype(np.int64) % 256).astype(np.uint8)
    counts = np.zeros((n_tables, 256), np.int64)
    np.add.at(counts, (tables, symbols), 1)
    counts[counts.sum(1) == 0, 0] = 1
    return symbols, tables, rans.normalise(counts)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 50_000), n_tables=st.integers(1, 128))
@QUICK
def test_what_is_decoded_is_what_was_encoded(seed, n, n_tables):
    symbols, tables, freq = sample(seed, n, n_tables)
    assert np.array_equal(rans.decode(rans.encode(symbols, tables, freq), tables, freq), symbols)


def outcome(function, *arguments) -> bytes | str:
    """The bytes that a function returns, or its refusal."""
    try:
        return bytes(function(*arguments))
    except ArtifactError as error:
        return str(error)


@pytest.mark.parametrize("n", [0, 1, 999, 16_500])
def test_symbol_by_symbol_is_as_all_lanes_at_once(n, monkeypatch):
    """The same streams, symbols and refusals, also of damaged streams."""
    symbols, tables, freq = sample(n, n, 5)
    stream, rng = rans.encode(symbols, tables, freq), np.random.default_rng(n)
    streams = [stream, stream[:-2], stream + b"\0\0"]
    for _ in range(4):
        damaged = bytearray(stream)
        damaged[rng.integers(len(stream))] ^= int(rng.integers(1, 256))
        streams.append(bytes(damaged))
    found = [[outcome(rans.decode, each, tables, freq) for each in streams]]
    monkeypatch.setattr(rans, "FEW_LANES", 0)
    assert rans.encode(symbols, tables, freq) == stream
    found.append([outcome(rans.decode, each, tables, freq) for each in streams])
    assert found[0] == found[1]
    assert {type(each) for each in found[0]} == {bytes, str}


def test_more_symbols_than_one_slice_holds():
    symbols, tables, freq = sample(0, 2 * rans.SLICE + 12_345, 3)
    assert np.array_equal(rans.decode(rans.encode(symbols, tables, freq), tables, freq), symbols)


def test_the_size_is_the_cross_entropy_and_four_bytes_per_lane():
    symbols, tables, freq = sample(1, 300_000, 4)
    ideal = -np.log2(freq[tables, symbols] / rans.TOTAL).sum() / 8
    size = len(rans.encode(symbols, tables, freq))
    assert ideal <= size <= ideal * 1.0002 + 4 * rans.lanes_of(len(symbols))


def test_the_bytes_are_fixed():
    """A pinned hash: any change of the arithmetic would make earlier files unreadable."""
    symbols = (np.arange(40_000) ** 2 % 251 % 17).astype(np.uint8)
    tables = (np.arange(40_000) % 3 == 0).astype(np.uint8)
    freq = rans.normalise(np.stack([np.arange(256) < 17, 5 * (np.arange(256) < 17) + (np.arange(256) < 3)]))
    stream = rans.encode(symbols, tables, freq)
    assert (len(stream), hashlib.sha256(stream).hexdigest()[:16]) == (20464, "0536cf9f2ce8de08")


@given(st.lists(st.integers(0, 2**32), min_size=256, max_size=256).filter(any))
@QUICK
def test_frequencies_sum_to_the_total_and_leave_no_symbol_out(weights):
    row = np.array(weights)
    (freq,) = rans.normalise(row[None])
    assert freq.sum() == rans.TOTAL
    assert (freq[row > 0] >= 1).all()
    assert freq.max() <= rans.TOTAL - rans.SPARE


def test_one_symbol_alone_still_costs_something():
    freq = rans.normalise((np.arange(256) == 255)[None])
    assert (freq[0, 255], freq[0, 0]) == (rans.TOTAL - rans.SPARE, rans.SPARE)
    zeros = np.zeros(2**22, np.uint8)
    size = len(rans.encode(zeros + 255, zeros, freq))
    assert 2**22 / 32768 < size < 4096 + 2**22 / 20_000


def test_integer_logarithms_are_those_of_the_library_rounded_down():
    table = rans.log2_table(256)
    exact = 256 * np.log2(np.maximum(np.arange(rans.TOTAL + 1), 1))
    assert ((exact - 1 - 1e-9 < table) & (table <= exact + 1e-9)).all()
    assert table[2**13] == 256 * 13
    assert table[3] == math.floor(256 * math.log2(3))


def test_streams_that_end_too_early_or_too_late_are_refused():
    symbols, tables, freq = sample(2, 5000, 2)
    stream = rans.encode(symbols, tables, freq)
    for bad in (b"", stream[:-1], stream[:-2], stream + b"\0\0", stream[:4], b"\0\0\0\0" + stream[4:]):
        with pytest.raises(ArtifactError, match="entropy-coded payload"):
            rans.decode(bad, tables, freq)
