"""The contract of a quantizer, tested on every YAML of conf/quant, including new ones."""

from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pgolf.config.build import build_quantizer
from pgolf.config.schema import Config
from pgolf.errors import ArtifactError
from pgolf.quant.container import read_container, write_container
from pgolf.quant.encoding import decode, uncompressed_bytes
from tiny import composed_config

CONF = Path(__file__).parents[2] / "conf" / "quant"
YAMLS = sorted(path.stem for path in CONF.glob("*.yaml"))
QUICK = settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
STATE_SHAPES = {
    "model.embedding.table.weight": (300, 40),
    "model.q_proj.0.proj.weight": (40, 40),
    "model.attention.0.k.weight": (300, 256),
    "model.attention.0.q_gain": (4,),
    "model.mlp.0.fc.weight": (80, 40),
    "model.mlp.0.experts": (3, 300, 80),
    "model.gains.0.resid_mix": (2, 40),
    "model.depth.skip_weights": (1, 40),
    "model.head.down.weight": (8, 40),
    "model.head.temperature": (),
    "model.head.bias": (70_000,),
}


@cache
def composed(stem: str) -> Config:
    return composed_config(f"quant={stem}", "scale=published")


def quantizer(stem: str):
    return build_quantizer(composed(stem))


def state(seed: int, size: float = 0.1) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng) * size for name, shape in STATE_SHAPES.items()}


def bits_of(tensor: torch.Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


@pytest.fixture(params=YAMLS)
def quant(request):
    return quantizer(request.param)


def test_the_yamls_are_found():
    assert {"none", "int8_zlib", "int6_zstd", "int8_zlib_published", "int6_zstd_published"} <= set(YAMLS)


@pytest.mark.parametrize("stem", YAMLS)
def test_header_says_what_it_is_and_how_to_run_it(stem):
    text = (CONF / f"{stem}.yaml").read_text()
    comment = text[: text.index("_target_")]
    assert comment.startswith("# ")
    assert f"quant={stem}" in comment
    assert OmegaConf.load(CONF / f"{stem}.yaml")["_partial_"] is True


def test_through_a_file_and_back(quant, tmp_path):
    encoded = {name: quant.encode(name, tensor) for name, tensor in state(1).items()}
    write_container(tmp_path / "a.pgolf", {}, encoded, quant.codec, quant.level)
    _, read = read_container(tmp_path / "a.pgolf")
    for name, tensor in state(1).items():
        back = decode(read[name])
        assert back.dtype == torch.float32
        assert back.shape == tensor.shape
        assert bits_of(back) == bits_of(decode(encoded[name]))
        assert (back - tensor).abs().max() <= 0.05, f"{name}: far from its weights"


def test_the_same_state_makes_the_same_bytes(quant, tmp_path):
    for path in (tmp_path / "one", tmp_path / "two"):
        write_container(
            path, {}, {name: quant.encode(name, t) for name, t in state(2).items()}, quant.codec, quant.level
        )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_payload_bytes_are_those_of_the_encoded_arrays(quant):
    for name, tensor in state(3).items():
        assert quant.payload_bytes(name, tuple(tensor.shape)) == uncompressed_bytes(
            {name: quant.encode(name, tensor)}
        ), name
        assert quant.payload_bytes(name, tensor.to("meta").shape) == quant.payload_bytes(name, tuple(tensor.shape))


@given(
    stem=st.sampled_from(YAMLS),
    seed=st.integers(0, 2**32 - 1),
    log_size=st.integers(-12, 12),
    name=st.sampled_from(sorted(STATE_SHAPES)),
)
@QUICK
def test_fake_is_the_packed_weight_bit_for_bit(stem, seed, log_size, name):
    quant, tensor = quantizer(stem), state(seed, 10.0**log_size)[name]
    assert bits_of(quant.fake(name, tensor)) == bits_of(decode(quant.encode(name, tensor)))


def test_fake_passes_the_gradient_straight_through(quant):
    for name, tensor in state(4).items():
        live, upstream = tensor.clone().requires_grad_(), state(5)[name]
        quant.fake(name, live).backward(upstream)
        assert torch.equal(live.grad, upstream), name
        assert torch.equal(live, tensor), f"{name}: the live weight was changed"


def test_a_bf16_weight_is_packed_and_faked_from_its_own_value(quant):
    live = state(7)["model.attention.0.k.weight"].bfloat16().requires_grad_()
    fake = quant.fake("model.mlp.0.fc.weight", live)
    assert bits_of(fake) == bits_of(decode(quant.encode("model.mlp.0.fc.weight", live)))
    fake.sum().backward()
    assert live.grad.dtype == torch.bfloat16
    assert bool((live.grad == 1).all())


def test_packing_neither_changes_nor_aliases_the_weights(quant):
    for name, tensor in state(5).items():
        live = tensor.clone()
        encoded = quant.encode(name, live)
        assert torch.equal(live, tensor)
        before = bits_of(decode(encoded))
        live.zero_()
        assert bits_of(decode(encoded)) == before


def test_a_view_is_packed_like_its_copy(quant):
    tensor = state(8)["model.attention.0.k.weight"].t()
    assert bits_of(decode(quant.encode("model.mlp.0.fc.weight", tensor))) == bits_of(
        decode(quant.encode("model.mlp.0.fc.weight", tensor.contiguous()))
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["model.attention.0.k.weight", "model.attention.0.q_gain"])
def test_weights_that_are_not_finite_are_refused_by_name(quant, bad, name):
    tensor = state(6)[name]
    tensor.view(-1)[-1] = bad
    with pytest.raises(ArtifactError, match=rf"{name}: 1 of {tensor.numel()} weights"):
        quant.encode(name, tensor)


def test_a_weight_beyond_fp32_is_refused(quant):
    with pytest.raises(ArtifactError, match="NaN or infinite"):
        quant.encode("model.attention.0.k.weight", torch.full((300, 256), 1e300, dtype=torch.float64))


@pytest.mark.parametrize("tensor", [torch.arange(5), torch.tensor([True, False]), torch.tensor(7, dtype=torch.int32)])
def test_integers_and_booleans_come_back_as_they_were(quant, tensor, tmp_path):
    write_container(
        tmp_path / "a", {}, {"model.buffer": quant.encode("model.buffer", tensor)}, quant.codec, quant.level
    )
    back = decode(read_container(tmp_path / "a")[1]["model.buffer"])
    assert back.dtype == tensor.dtype
    assert torch.equal(back, tensor)
