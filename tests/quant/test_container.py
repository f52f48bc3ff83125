"""The packed file: round trip, deterministic bytes, decoding, and refused input."""

import importlib.util
import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgolf.errors import ArtifactError, OptionError
from pgolf.quant.container import read_container, write_container
from pgolf.quant.encoding import decode, uncompressed_bytes
from pgolf.slots import Encoded

QUICK = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
CODECS = [("none", 0), ("zlib", 0), ("zlib", 9), ("zstd", 1), ("zstd", 22), ("zstd_best", 22), ("lzma", 0), ("lzma", 9)]
CODECS += [("entropy", 0), ("entropy", 7)]
CODECS += [("brotli", 0), ("brotli", 11)] if importlib.util.find_spec("brotli") else []
HEADER = {"model": {"width": 8, "rope_base": 10000.0, "slots": ["q_proj", None]}, "tokenizer_sha256": "ab" * 16}


def tensors(seed: int = 0, rows: int = 4, cols: int = 6) -> dict[str, Encoded]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-31, 32, (rows, cols), dtype=np.int8)
    return {
        "model.mlp.10.fc.weight": Encoded(
            "int", 6, (rows, cols), {"codes": codes, "scales": rng.random(rows).astype(np.float16)}
        ),
        "model.mlp.2.fc.weight": Encoded(
            "int", 8, (cols, rows), {"codes": codes.T.copy(), "scales": rng.random(cols).astype(np.float16)}
        ),
        "model.experts": Encoded(
            "int", 2, (2, 1, 3), {"codes": np.ones((1, 6), np.int8), "scales": np.ones(1, np.float16)}
        ),
        "model.gains.0.attn_scale": Encoded("fp32", 32, (5,), {"values": rng.standard_normal(5).astype(np.float32)}),
        "model.gate": Encoded("fp16", 16, (), {"values": np.array(0.5, np.float16)}),
        "model.none": Encoded("fp32", 32, (0, 3), {"values": np.zeros((0, 3), np.float32)}),
        "model.table": Encoded("raw", 64, (3,), {"values": np.array([1, -2, 2**40])}),
        "model.mask": Encoded("raw", 8, (2,), {"values": np.array([True, False])}),
    }


def same(a: dict[str, Encoded], b: dict[str, Encoded]) -> bool:
    return a.keys() == b.keys() and all(
        (a[n].scheme, a[n].bits, a[n].shape) == (b[n].scheme, b[n].bits, b[n].shape)
        and a[n].arrays.keys() == b[n].arrays.keys()
        and all(
            np.array_equal(a[n].arrays[k], b[n].arrays[k]) and a[n].arrays[k].dtype == b[n].arrays[k].dtype
            for k in a[n].arrays
        )
        for n in a
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("container")


@pytest.mark.parametrize(("codec", "level"), CODECS)
def test_round_trip(folder, codec, level):
    size = write_container(folder / "a.pgolf", HEADER, tensors(), codec, level)
    header, encoded = read_container(folder / "a.pgolf")
    assert size == os.path.getsize(folder / "a.pgolf")
    assert header == HEADER
    assert same(encoded, tensors())
    assert uncompressed_bytes(encoded) == 24 + 2 * 4 + 24 + 2 * 6 + 6 + 2 + 20 + 2 + 0 + 24 + 2


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40), cols=st.integers(1, 40), codec=st.sampled_from(CODECS))
@QUICK
def test_round_trip_of_any_size(folder, seed, rows, cols, codec):
    write_container(folder / "b.pgolf", {}, tensors(seed, rows, cols), *codec)
    assert same(read_container(folder / "b.pgolf")[1], tensors(seed, rows, cols))


def test_no_tensors(folder):
    for codec, level in CODECS:
        write_container(folder / "empty.pgolf", {}, {}, codec, level)
        assert read_container(folder / "empty.pgolf") == ({}, {})


@pytest.mark.parametrize(("codec", "level"), CODECS)
def test_one_state_makes_one_sequence_of_bytes(folder, codec, level):
    state = tensors()
    write_container(folder / "one.pgolf", HEADER, state, codec, level)
    backwards = {name: state[name] for name in reversed(state)}
    write_container(folder / "two.pgolf", dict(reversed(HEADER.items())), backwards, codec, level)
    assert (folder / "one.pgolf").read_bytes() == (folder / "two.pgolf").read_bytes()


def test_byte_order_and_memory_layout_do_not_matter(folder):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, array in (("one", values), ("two", np.asfortranarray(values).astype(">f4"))):
        write_container(folder / f"{name}.pgolf", {}, {"w": Encoded("fp32", 32, (2, 3), {"values": array})}, "zlib", 9)
    assert (folder / "one.pgolf").read_bytes() == (folder / "two.pgolf").read_bytes()


def test_layers_of_one_matrix_lie_side_by_side_in_layer_order(folder):
    eight_bits = {n: Encoded("int", 8, (1, 4), {"codes": np.full((1, 4), v, np.int8), "scales": np.ones(1, np.float16)})
                  for n, v in {"m.mlp.10.w": 3, "m.a.0.w": 1, "m.mlp.9.w": 2}.items()}  # fmt: skip
    write_container(folder / "c.pgolf", {}, eight_bits, "none", 0)
    assert (folder / "c.pgolf").read_bytes().endswith(bytes([1] * 4 + [2] * 4 + [3] * 4))


def test_decode():
    decoded = {name: decode(encoded) for name, encoded in tensors().items()}
    int6 = tensors()["model.mlp.10.fc.weight"].arrays
    expected = int6["codes"].astype(np.float64) * int6["scales"].astype(np.float64)[:, None]
    assert np.array_equal(decoded["model.mlp.10.fc.weight"].numpy(), expected)
    assert {decoded[n].dtype for n in decoded if n not in ("model.table", "model.mask")} == {torch.float32}
    assert decoded["model.experts"].shape == (2, 1, 3)
    assert decoded["model.gate"].shape == ()
    assert decoded["model.table"].tolist() == [1, -2, 2**40]
    assert decoded["model.mask"].tolist() == [True, False]


def test_decoded_tensors_of_a_file_can_be_written_to(folder):
    write_container(folder / "d.pgolf", {}, tensors(), "zlib", 9)
    for encoded in read_container(folder / "d.pgolf")[1].values():
        before = {key: array.tobytes() for key, array in encoded.arrays.items()}
        decode(encoded).zero_()
        assert before == {key: array.tobytes() for key, array in encoded.arrays.items()}


def test_writing_fails_whole(folder, tmp_path):
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_container(tmp_path / "absent" / "a.pgolf", {}, tensors(), "zlib", 9)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_container(tmp_path / "folder", {}, tensors(), "zlib", 9)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "header", [{"x": float("nan")}, {"x": (1, 2)}, {1: 2}, {"x": {1}}, {"x": "\ud800"}, {"x": 1, 2: 3}]
)
def test_a_header_that_would_not_come_back_is_refused(tmp_path, header):
    with pytest.raises(ArtifactError, match="header"):
        write_container(tmp_path / "a.pgolf", header, {}, "zlib", 9)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a b", Encoded("fp32", 32, (1,), {"values": np.zeros(1, np.float32)})),
        ("w", Encoded("fp32", 32, (2,), {"values": np.zeros(1, np.float32)})),
        ("w", Encoded("fp32", 32, (1, 2), {"values": np.zeros((2, 1), np.float32)})),
        ("w", Encoded("fp32", 32, (1,), {"values": np.zeros(1, np.float64)})),
        ("w", Encoded("fp32", 32, (1,), {"values": np.full(1, np.inf, np.float32)})),
        ("w", Encoded("int", 6, (1, 1), {"codes": np.full((1, 1), 32, np.int8), "scales": np.ones(1, np.float16)})),
        ("w", Encoded("pickle", 8, (1,), {"values": np.zeros(1, np.int8)})),
        ("w", Encoded("raw", 128, (1,), {"values": np.zeros(1, np.complex128)})),
        ("w", Encoded("raw", 8, (1,) * 9, {"values": np.zeros((1,) * 9, np.int8)})),
    ],
)
def test_tensors_that_could_not_be_read_back_are_not_written(tmp_path, name, encoded):
    with pytest.raises(ArtifactError):
        write_container(tmp_path / "a.pgolf", {}, {name: encoded}, "zlib", 9)


@pytest.mark.parametrize(
    ("codec", "level", "key"),
    [
        ("xz", 1, "codec"), ("zlib", 10, "level"), ("zstd", 0, "level"), ("none", 1, "level"),
        ("zstd_best", 23, "level"), ("lzma", 10, "level"), ("brotli", 12, "level"), ("entropy", 8, "level"),
    ],
)  # fmt: skip
def test_bad_codecs(tmp_path, codec, level, key):
    with pytest.raises(OptionError) as caught:
        write_container(tmp_path / "a.pgolf", {}, {}, codec, level)
    assert caught.value.key == key
