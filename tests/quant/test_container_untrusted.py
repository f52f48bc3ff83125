"""Packed files that are damaged, cut or forged: reading them raises ArtifactError and does nothing else."""

import hashlib
import importlib.util
import json
import lzma
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgolf.errors import ArtifactError
from pgolf.quant.codecs import compress
from pgolf.quant.container import read_container, write_container
from pgolf.quant.encoding import decode
from pgolf.quant.spans import Span
from pgolf.slots import Encoded

QUICK = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
HEADER = {"model": {"width": 8, "rope_base": 10000.0, "slots": ["q_proj", None]}, "tokenizer_sha256": "ab" * 16}
CODECS = ["zlib", "zstd", "zstd_best", "lzma", "entropy", *(["brotli"] if importlib.util.find_spec("brotli") else [])]
CODES = np.random.default_rng(0).integers(-31, 32, (4, 6), dtype=np.int8)
STATE = {
    "model.mlp.10.fc.weight": Encoded(
        "int", 6, (4, 6), {"codes": CODES, "scales": np.linspace(0.1, 0.2, 4).astype(np.float16)}
    ),
    "model.gains.0.attn_scale": Encoded("fp32", 32, (5,), {"values": np.linspace(-1, 1, 5).astype(np.float32)}),
    "model.gate": Encoded("fp16", 16, (), {"values": np.array(0.5, np.float16)}),
    "model.table": Encoded("raw", 64, (3,), {"values": np.array([1, -2, 2**40])}),
    "model.mask": Encoded("raw", 8, (2,), {"values": np.array([True, False])}),
}


def is_state(encoded: dict[str, Encoded]) -> bool:
    return encoded.keys() == STATE.keys() and all(
        torch.equal(decode(encoded[name]), decode(STATE[name])) for name in STATE
    )


RAW_LZMA2 = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**18}]


def forge(header: object, packed: bytes, version: int = 1) -> bytes:
    """A file with correct checksums around any content, written from the format's description, not from its code."""
    text = (
        header
        if isinstance(header, bytes)
        else json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    if version == 2:
        text = lzma.compress(text, lzma.FORMAT_RAW, filters=RAW_LZMA2)
    return (
        struct.pack("<8sII", b"\x89pgolf\r\n", version, len(text)) + hashlib.sha256(text).digest()[:16] + text + packed
    )


def header_text(blob: bytes) -> bytes:
    version, n = struct.unpack_from("<II", blob, 8)
    text = blob[32 : 32 + n]
    return lzma.decompress(text, lzma.FORMAT_RAW, filters=RAW_LZMA2) if version == 2 else text


def parts(blob: bytes) -> tuple[dict, bytes]:
    return json.loads(header_text(blob)), blob[32 + struct.unpack_from("<I", blob, 12)[0] :]


def repack(header: dict, packed: bytes) -> bytes:
    """`forge` with the right length and checksum of the payload."""
    header["payload"] |= {"packed_bytes": len(packed), "sha256": hashlib.sha256(packed).hexdigest()[:32]}
    return forge(header, packed, 2 if header["payload"]["codec"] == "entropy" else 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("untrusted")


@pytest.fixture(params=["zlib", "zstd", "none"])
def blob(request, folder):
    write_container(folder / "good.pgolf", HEADER, STATE, request.param, 0 if request.param == "none" else 9)
    return (folder / "good.pgolf").read_bytes()


def read_bytes(folder, data: bytes):
    (folder / "file.pgolf").write_bytes(data)
    return read_container(folder / "file.pgolf")


def refused(folder, data: bytes, match: str = ": ") -> None:
    with pytest.raises(ArtifactError, match=match):
        read_bytes(folder, data)


def test_every_changed_byte_is_noticed(folder, blob):
    for position in range(len(blob)):
        for mask in (0x01, 0x80):
            refused(folder, blob[:position] + bytes([blob[position] ^ mask]) + blob[position + 1 :])


def test_every_truncation_and_any_addition_is_noticed(folder, blob):
    for length in range(len(blob)):
        refused(folder, blob[:length])
    refused(folder, blob + b"\0")


@given(data=st.binary(max_size=300), after_magic=st.booleans())
@QUICK
def test_random_bytes_are_refused(folder, data, after_magic):
    refused(folder, (b"\x89pgolf\r\n\x01\0\0\0" if after_magic else b"") + data)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.sampled_from(["int", "fp16", "fp32", "raw", "|i1", "<f2", "<f4", "|O", ">f4", "<U9", "codes", "zstd", "none", 0, 1, 2**32, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2), max_leaves=4,
)  # fmt: skip


def leaves(node, path=()):
    yield path
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from leaves(node[key], (*path, key))


@given(data=st.data())
@settings(QUICK, max_examples=400)
def test_a_forged_header_is_refused_or_harmless(folder, data):
    write_container(folder / "good.pgolf", HEADER, STATE, "zlib", 9)
    header, packed = parts((folder / "good.pgolf").read_bytes())
    *above, last = data.draw(st.sampled_from([path for path in leaves(header) if path and path[:1] != ("header",)]))
    node = header
    for key in above:
        node = node[key]
    node[last] = data.draw(JSON_VALUES)
    try:
        blob = forge(header, packed)
    except UnicodeEncodeError:
        return
    try:
        _, encoded = read_bytes(folder, blob)
    except ArtifactError:
        return
    assert all(bool(torch.isfinite(decode(tensor)).all()) for tensor in encoded.values())


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), codec=st.sampled_from(CODECS))
@settings(QUICK, max_examples=200)
def test_a_damaged_stream_with_a_right_checksum_is_refused_or_the_same(folder, position, value, codec):
    write_container(folder / "good.pgolf", HEADER, STATE, codec, 5)
    header, packed = parts((folder / "good.pgolf").read_bytes())
    position %= len(packed)
    try:
        _, encoded = read_bytes(folder, repack(header, packed[:position] + bytes([value]) + packed[position + 1 :]))
    except ArtifactError:
        return
    assert is_state(encoded)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"null", b"[]", b"\xff\xfe", b"NaN", b"1e999", b"[" * 100_000, b"[" * 500 + b"]" * 500, b"9" * 10_000,
        b'{"header":{},"header":{},"payload":{},"tensors":[]}', b'{"header":{}, "payload":{},"tensors":[]}', b'"\\ud800"',
        b'{"header":{"x":NaN},"payload":{},"tensors":[]}', b'{"header":{"x":Infinity},"payload":{},"tensors":[]}',
        b'{"header":{"x":' + b"[" * 70 + b"]" * 70 + b'},"payload":{},"tensors":[]}', '"\u00e9"'.encode("utf-16"),
    ],
)  # fmt: skip
def test_bad_json_is_refused(folder, text):
    refused(folder, forge(text, b""), "header")


@pytest.mark.parametrize(
    "header", [b'{"a":1,"a":1}', b'{"a": 1}', b'{"b":1,"a":1}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":1E2}',
               b'{"a":"\\u0041"}',
               b'{"a":"\\ud800"}', b'{"a":' + b"[" * 64 + b"]" * 64 + b"}"],
)  # fmt: skip
def test_json_that_reads_two_ways_is_refused_in_a_file_that_is_otherwise_good(folder, header):
    good = header_text(file_of([entry()]))
    refused(folder, forge(good.replace(b'"header":{}', b'"header":' + header), PAYLOAD), "header is not")
    read_bytes(folder, forge(good.replace(b'"header":{}', b'"header":{"a":' + b"[" * 50 + b"]" * 50 + b"}"), PAYLOAD))


def entry(**changes) -> dict:
    arrays = {"codes": ["|i1", 4, 4], "scales": ["<f2", 0, 4]}
    good = {
        "name": "w",
        "shape": [2, 2],
        "scheme": "int",
        "bits": 8,
        "arrays": arrays,
        "crc32": zlib.crc32(PAYLOAD[4:] + PAYLOAD[:4]),
    }
    return good | changes


PAYLOAD = np.array([1, 2], np.float16).tobytes() + bytes([1, 2, 0xFE, 0xFF])


def file_of(entries: list, payload: bytes = PAYLOAD, n_bytes: int | None = None) -> bytes:
    about = {"codec": "none", "level": 0, "bytes": len(payload) if n_bytes is None else n_bytes}
    return repack({"header": {}, "payload": about, "tensors": entries}, payload)


def test_the_forged_file_is_fine_before_it_is_spoilt(folder):
    assert decode(read_bytes(folder, file_of([entry()]))[1]["w"]).tolist() == [[1, 2], [-4, -2]]


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [-2, -2]}, {"shape": [2, 3]}, {"shape": [True, 4]}, {"shape": [2.0, 2]}, {"shape": [2**31, 2**31]}, {"shape": [1] * 9},
        {"shape": "22"}, {"shape": [0, 2**33]}, {"shape": [0, 2**31, 2**31]}, {"name": ""}, {"name": "a b"}, {"name": "\u00e9"},
        {"name": 3},
        {"name": "\x1b[2J"}, {"scheme": "pickle"}, {"scheme": []}, {"scheme": "fp16"}, {"bits": 9}, {"bits": 1}, {"bits": "8"}, {"bits": 2},
        {"crc32": 0}, {"crc32": None}, {"extra": 1}, {"arrays": []}, {"arrays": {}}, {"arrays": {"codes": ["|i1", 4, 4]}},
        {"arrays": {"codes": ["|u1", 4, 4], "scales": ["<f2", 0, 4]}}, {"arrays": {"codes": ["|O", 4, 4], "scales": ["<f2", 0, 4]}},
        {"arrays": {"codes": ["|i1", 3, 4], "scales": ["<f2", 0, 4]}}, {"arrays": {"codes": ["|i1", 5, 4], "scales": ["<f2", 0, 4]}},
        {"arrays": {"codes": ["|i1", -4, 4], "scales": ["<f2", 0, 4]}}, {"arrays": {"codes": ["|i1", 4, 4], "scales": ["<f2", 0, 3]}},
        {"arrays": {"codes": ["|i1", 4, 4], "scales": ["<f2", 0, 0]}}, {"arrays": {"codes": ["|i1", 4, 2**40], "scales": ["<f2", 0, 4]}},
        {"arrays": {"codes": ["|i1", 4], "scales": ["<f2", 0, 4]}},
    ],
)  # fmt: skip
def test_a_lying_table_is_refused(folder, changes):
    refused(folder, file_of([entry(**changes)]))


def test_overlaps_gaps_and_doubled_names_are_refused(folder):
    refused(folder, file_of([entry(), entry()]), "one name")
    refused(folder, file_of([entry(), entry(name="v")]), "overlap")
    refused(folder, file_of([]), "take 0 bytes")
    refused(folder, file_of([entry()], PAYLOAD + b"\0"), "take 8 bytes")
    refused(folder, file_of([entry()], n_bytes=2**33), "payload bytes")


def test_weights_that_are_not_finite_are_refused(folder):
    payload = np.array([np.nan, 2], np.float16).tobytes() + PAYLOAD[4:]
    refused(folder, file_of([entry(crc32=zlib.crc32(payload[4:] + payload[:4]))], payload), "NaN or infinity")
    arrays = {"values": ["|b1", 0, 1]}
    mask = {"name": "w", "shape": [1], "scheme": "raw", "bits": 8, "arrays": arrays, "crc32": zlib.crc32(b"\x02")}
    refused(folder, file_of([mask], b"\x02"), "boolean")


def test_versions_and_codecs_that_are_not_known_are_refused(folder, blob):
    header, packed = parts(blob)
    refused(folder, forge(header, packed, version=3), "format version 3")
    refused(folder, forge(header | {"payload": header["payload"] | {"codec": "xz"}}, packed), "codec")


def test_a_codec_belongs_to_one_version(folder, blob):
    header, packed = parts(blob)
    refused(folder, forge(header, packed, version=2), "does not have")
    entropy = header | {"payload": header["payload"] | {"codec": "entropy", "level": 5}}
    refused(folder, forge(entropy, packed, version=1), "does not have")


def test_a_compressed_header_is_bounded_and_whole(folder):
    """16 MiB of header at most are made, whatever the stream holds; cut and longer streams are refused."""
    refused(folder, forge(b'"' + b"x" * 2**25 + b'"', b"", version=2), "more than 16777216 bytes")
    good = lzma.compress(b"{}", lzma.FORMAT_RAW, filters=RAW_LZMA2)
    for text in (b"", b"\xff", good[:-1], good + b"\0"):
        data = struct.pack("<8sII", b"\x89pgolf\r\n", 2, len(text)) + hashlib.sha256(text).digest()[:16] + text
        refused(folder, data, "header is (damaged|cut)")


def zeros_table(n_bytes: int) -> list[dict]:
    return [
        {
            "name": "w",
            "shape": [n_bytes],
            "scheme": "raw",
            "bits": 8,
            "crc32": 0,
            "arrays": {"values": ["|i1", 0, n_bytes]},
        }
    ]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("declared", [10, 2**32])
def test_a_decompression_bomb_is_refused_without_being_unpacked(folder, codec, declared):
    zeros = bytes(2**25)
    packed = compress(zeros, codec, 5, [Span(1, len(zeros), len(zeros))])
    about = {"codec": codec, "level": 5, "bytes": declared}
    data = repack({"header": {}, "payload": about, "tensors": zeros_table(declared)}, packed)
    tracemalloc.start()
    try:
        refused(folder, data, "hold|length|unpacks to|end where")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_that_compresses_well_is_taken_for_a_bomb(folder, codec):
    state = {"w": Encoded("raw", 8, (2**24,), {"values": np.zeros(2**24, np.int8)})}
    write_container(folder / "zeros.pgolf", {}, state, codec, 5)
    assert not decode(read_container(folder / "zeros.pgolf")[1]["w"]).any()


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_with_something_behind_it_is_refused(folder, codec):
    write_container(folder / "good.pgolf", HEADER, STATE, codec, 5)
    header, packed = parts((folder / "good.pgolf").read_bytes())
    refused(folder, repack(header, packed + packed))
    refused(folder, repack(header, packed + b"\0"))
    refused(folder, repack(header, packed[:-1]))
    refused(folder, repack(header, b""))


def test_paths_that_are_not_regular_files(folder):
    os.mkfifo(folder / "fifo")
    for path in (folder, folder / "absent.pgolf", folder / "fifo", folder / "a\0b", folder / ("x" * 5000), "/dev/zero"):
        with pytest.raises(ArtifactError):
            read_container(path)
