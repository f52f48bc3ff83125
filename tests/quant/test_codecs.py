"""Codecs as choices: equal weights, the better of two levels, and a package that is missing."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from pgolf.errors import ArtifactError, UnavailableOption
from pgolf.quant.codecs import check_codec, compress, decompress
from pgolf.quant.encoding import entropy_of
from pgolf.slots import Encoded

CONF = Path(__file__).parents[2] / "conf" / "quant"
PAYLOAD = np.random.default_rng(0).normal(0, 9, 100_000).round().astype(np.int8).tobytes()


@pytest.mark.parametrize(("entropy", "other"), [("int8_entropy", "int8_zlib"), ("int6_entropy", "int6_zstd")])
def test_only_the_codec_differs_from_the_other_choice(entropy, other):
    ours, theirs = (OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml")) for name in (entropy, other))
    assert ours.pop("codec") == "entropy"
    assert theirs.pop("codec") != "entropy"
    ours.pop("level"), theirs.pop("level")
    assert ours == theirs


def test_zstd_best_is_the_smaller_of_its_two_levels():
    sizes = {level: len(compress(PAYLOAD, "zstd", level)) for level in (1, 19)}
    assert sizes[1] != sizes[19], "the levels must differ for this test to say anything"
    assert len(compress(PAYLOAD, "zstd_best", 1)) == min(sizes.values())
    assert len(compress(PAYLOAD, "zstd_best", 19)) == sizes[19]
    assert decompress(compress(PAYLOAD, "zstd_best", 1), "zstd_best", len(PAYLOAD)) == PAYLOAD


def test_lzma_is_near_the_entropy_of_independent_bytes():
    bound = entropy_of(Encoded("raw", 8, (len(PAYLOAD),), {"values": np.frombuffer(PAYLOAD, np.int8)}))
    assert bound <= len(compress(PAYLOAD, "lzma", 9)) < 1.03 * bound


def test_the_bound_is_the_sum_over_byte_planes():
    """Two values equally often take a bit each; a plane that is constant takes none."""
    values = np.array([1, 2] * 800, np.int16)
    assert entropy_of(Encoded("raw", 16, (1600,), {"values": values})) == 200
    codes = np.array([[0, 0, 0, 1]] * 200, np.int8)
    scales = np.ones(200, np.float16)
    bits = 800 * (0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert entropy_of(Encoded("int", 8, (200, 4), {"codes": codes, "scales": scales})) == math.ceil(bits / 8)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableOption, match="brotli") as caught:
        check_codec("brotli", 11)
    assert caught.value.key == "codec"
    assert "pip install 'pgolf[brotli]'" in str(caught.value)
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(ArtifactError, match=r"pgolf\[brotli\]"):
        decompress(b"\x06", "brotli", 0)
