"""The codec `entropy`: round trip of any layout, what shared tables save, and refused streams."""

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgolf.errors import ArtifactError
from pgolf.quant import row_tables
from pgolf.quant.codecs import compress, decompress
from pgolf.quant.row_tables import WEIGHTS, pack, unpack
from pgolf.quant.spans import Span

QUICK = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SPANS = st.lists(st.builds(Span, st.sampled_from([1, 2, 4, 8]), st.integers(0, 5000), st.integers(0, 6000)), max_size=6)


def codes(spreads: list[float], columns: int, seed: int = 0) -> bytes:
    """Rows of int8 codes, normal with these standard deviations."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((len(spreads), columns)) * np.array(spreads)[:, None]).round().astype(np.int8).tobytes()


def length(spans: list[Span]) -> int:
    return sum(span.item_bytes * span.count for span in spans)


@given(spans=SPANS, seed=st.integers(0, 2**32 - 1), level=st.integers(0, 7), alphabet=st.integers(1, 256))
@QUICK
def test_any_layout_comes_back(spans, seed, level, alphabet):
    payload = np.random.default_rng(seed).integers(0, alphabet, length(spans), np.uint8).tobytes()
    packed = pack(payload, spans, level)
    assert unpack(packed, spans) == payload
    assert len(packed) <= 1.02 * len(payload) + 1200 * (length(spans) > 0)


@given(st.integers(1, 10**5), st.integers(0, 10**5))
@QUICK
def test_rows_cover_a_plane(count, columns):
    rows = Span(1, count, columns).rows()
    assert sum(rows) == count
    assert max(rows) <= 4096
    assert all(row >= 64 for row in rows[:-1])


def test_rows_of_unequal_spread_share_tables():
    """Half of the rows have sd 2, half 20: with one table a byte costs 0.9 bit more than with two."""
    spreads, span = [2.0, 20.0] * 200, Span(1, 400 * 256, 256)
    payload = codes(spreads, 256)
    bits_of_normal = np.mean([np.log2(sd * np.sqrt(2 * np.pi * np.e)) for sd in (2.0, 20.0)])
    one, two = len(pack(payload, [span], 0)), len(pack(payload, [span], 1))
    assert two < 0.9 * one
    assert two == pytest.approx(len(payload) * bits_of_normal / 8, rel=0.01)


def test_a_matrix_with_unequal_columns_is_coded_by_columns():
    """A matrix and its transpose take the same bytes but for the order: which way it lies decides the choice."""
    rows = np.frombuffer(codes([2.0, 20.0] * 64, 128), np.int8).reshape(128, 128)
    span = Span(1, 128 * 128, 128)
    upright, turned = pack(rows.tobytes(), [span], 5), pack(rows.T.tobytes(), [span], 5)
    assert (upright[0], turned[0]) == (0, 0x80)
    assert upright[1:] == turned[1:]
    assert unpack(turned, [span]) == rows.T.tobytes()


def test_equal_rows_get_one_table():
    span = Span(1, 100 * 256, 256)
    packed = pack(codes([10.0] * 100, 256), [span], 7)
    assert packed[1] == 1  # the number of tables, behind the bits of the arrays
    assert packed == pack(codes([10.0] * 100, 256), [span], 0)


def test_numbers_of_two_bytes_are_coded_by_plane():
    scales = np.random.default_rng(0).uniform(0.01, 0.02, 20_000).astype("<f2").tobytes()
    mixed, planes = (len(pack(scales, [span], 5)) for span in (Span(1, 40_000, 40_000), Span(2, 20_000, 20_000)))
    assert planes < 0.85 * mixed


def test_the_bytes_are_fixed():
    """A pinned hash: clusters and tables are made of integers, so that every machine writes these bytes."""
    squares = (np.arange(64 * 512) ** 2 % 8191 % 61).reshape(64, 512) // (1 + np.arange(64)[:, None] % 5)
    packed = pack(squares.astype(np.uint8).tobytes(), [Span(1, 64 * 512, 512)], 5)
    assert (len(packed), hashlib.sha256(packed).hexdigest()[:16]) == (19107, "e4284bf3edbce151")


def test_weights_of_tables_are_dense_and_within_bounds():
    used = WEIGHTS[1 : row_tables.STEPS + 1]
    assert (np.diff(used) > 0).all()
    assert (used[1:] / used[:-1]).max() <= 1.125
    assert (WEIGHTS[0], used[-1]) == (0, row_tables.TOP)
    assert WEIGHTS.max() <= 2**20


def test_tables_with_every_step_can_be_written():
    q = np.random.default_rng(0).integers(0, row_tables.STEPS + 1, (128, 256))
    head, meta = row_tables._pack_tables(q, np.arange(128))
    assert (head[0], head[129], len(head)) == (128, 255, 130 + 512)
    assert np.array_equal(row_tables._from_steps(row_tables._steps(q)), q)
    assert len(meta) < 128 * 256


def test_damaged_streams_are_refused_or_have_the_declared_length():
    spans = [Span(1, 40 * 64, 64), Span(2, 40, 40)]
    packed = compress(codes([3.0] * 40, 65)[: length(spans)].ljust(length(spans), b"\1"), "entropy", 3, spans)
    rng, n_refused = np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(packed)
        damaged[rng.integers(len(packed))] = rng.integers(256)
        try:
            assert len(decompress(bytes(damaged), "entropy", length(spans), spans)) == length(spans)
        except ArtifactError:
            n_refused += 1
    assert n_refused > 250
    for cut in range(0, len(packed), 7):
        with pytest.raises(ArtifactError):
            decompress(packed[:cut], "entropy", length(spans), spans)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\0\0", "0 tables"), (b"\0\x81", "129 tables"), (b"\0\1\0\0\0\0\0\0\0\0", "empty"), (b"\0\1", "cut"),
        (b"", "cut"), (b"\x80", "by columns"),
    ],
)  # fmt: skip
def test_heads_that_no_packer_writes_are_refused(head, message):
    with pytest.raises(ArtifactError, match=message):
        unpack(head, [Span(1, 10, 10)])


def test_an_empty_payload_has_no_bytes():
    assert pack(b"", [], 3) == b""
    assert unpack(b"", [Span(1, 0, 5)]) == b""
    with pytest.raises(ArtifactError, match="empty"):
        unpack(b"\0", [])
