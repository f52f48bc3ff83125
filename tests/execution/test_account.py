"""The account against real models, closed formulas and the published counts."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgolf import params
from pgolf.config.build import build_model, build_quantizer, make
from pgolf.config.compose import quantizer_choices
from pgolf.config.schema import plain_config
from pgolf.execution.account import account, by_slot, flops_per_token, packed_tensors
from pgolf.execution.artifact import encode_state, pack, unpack
from pgolf.nn.primitives import initialise
from pgolf.quant.container import read_container
from pgolf.quant.encoding import uncompressed_bytes
from tiny import ALL_VARIANTS, CPU, SLOTS, composed_config, stems, tiny_config, tiny_model, variants


def published(*overrides: str) -> dict:
    return composed_config("model=baseline", "scale=published", *overrides)


@pytest.mark.parametrize(
    ("overrides", "total"),
    [
        ([], 17_059_912),
        (["model/embedding=albert", "model.embedding.rank=64"], 16_633_928),
        (["model/embedding=albert", "model.embedding.rank=128"], 16_732_232),
        (["model/embedding=albert"], 16_732_232),
        (["model.layers=11", "model.mlp_hidden=1536"], 26_501_720),
        (["model.layers=11", "model.mlp_hidden=1536", "model/q_proj=low_rank"], 25_780_824),
    ],
    ids=str,
)
def test_published_counts(overrides, total):
    costs = account(published(*overrides))
    assert costs.total == costs.trained == total
    assert costs.frozen == 0
    assert sum(costs.by_slot.values()) == sum(costs.by_role.values()) == total


def test_published_groups_of_the_baseline():
    costs = account(published(), every_quantizer=True)
    assert costs.by_role == {"embedding": 524_288, "matrix": 16_515_072, "scalar": 20_552}
    assert costs.payload_bytes["int8_zlib_published"] == 17_178_912


@settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    head_dim=st.sampled_from([2, 4, 8]),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    layers=st.integers(1, 6),
    shared=st.booleans(),
    vocab_size=st.integers(9, 40),
    mlp_hidden=st.integers(1, 70),
    slots=st.tuples(*(st.sampled_from(variants(slot)) for slot in SLOTS)),
    rank=st.integers(2, 4),
)
def test_parameters_are_those_of_the_real_model(
    head_dim, kv_heads, group, layers, shared, vocab_size, mlp_hidden, slots, rank
):
    config = tiny_config("optim.frozen=[model.embedding]")
    for slot, stem in zip(SLOTS, slots, strict=True):
        node = getattr(tiny_config(f"model/{slot}={stem}").model, slot)
        if "rank" in node:
            node["rank"] = min(rank, head_dim * kv_heads * group)
        if "pairs" in node:
            node["pairs"] = min(node["pairs"], head_dim * kv_heads * group // 2)
        if "ranks" in node:
            node["ranks"] = [min(rank, head_dim * kv_heads * group)] * (1 if shared else layers)
        setattr(config.model, slot, node)
    heads = kv_heads * group
    sizes = {
        "width": head_dim * heads,
        "heads": heads,
        "kv_heads": kv_heads,
        "layers": layers,
        "unique_blocks": 1 if shared else layers,
    }
    sizes |= {"vocab_size": vocab_size, "mlp_hidden": mlp_hidden, "rotary_dims": head_dim}
    config.model = replace(config.model, **sizes)
    costs = account(config, every_quantizer=True)
    model = build_model(config.model)
    initialise(model, 1, CPU)
    parts = {f"model.{name}": sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert costs.total == sum(parts.values())
    assert costs.by_slot == {name: count for name, count in parts.items() if count or name in costs.by_slot}
    assert costs.frozen == parts["model.embedding"] == costs.total - costs.trained
    assert sum(costs.by_role.values()) == costs.total
    for name, node in quantizer_choices(plain_config(config)):
        made = make("quant", node)
        assert costs.payload_bytes[name] == uncompressed_bytes(encode_state(model, made)), name


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_slots_are_counted_apart(variant):
    model = tiny_model(tiny_config(variant))
    counted = by_slot(model)
    assert sum(counted.values()) == sum(p.numel() for p in model.parameters())
    without_mixing = {"attn_res": 6 * 32, "dense_scalars": sum(range(2, 8)), "depth_attention": 2 * (32 + 2)}
    depth = variant.removeprefix("model/depth=")
    assert counted["model.gains"] == (3 * 2 * 32 if depth in without_mixing else 3 * 4 * 32)
    assert counted.get("model.depth", 0) == {"plain": 0, **without_mixing}.get(depth, 32)


def test_baseline_count_in_closed_form():
    for layers, cores in ((3, 3), (4, 1), (5, 2)):
        config = tiny_config(f"model.layers={layers}", f"model.unique_blocks={cores}")
        core = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 2 * 32 * 64 + 4
        assert account(config).total == 23 * 32 + cores * core + layers * 4 * 32 + layers // 2 * 32


V, D, L, H, K, T, M, R, E = 23, 32, 3, 4, 8, 16, 64, 8, 4
CORE = D * D + 2 * D * 16 + D * D + 2 * D * M
ATTENTION = 6 * L * H * K * T


@pytest.mark.parametrize(
    ("overrides", "weights"),
    [
        (["model/head=tied"], L * CORE + V * D),
        (["model/head=untied"], L * CORE + V * D),
        (["model/head=factorized"], L * CORE + R * D + V * R),
        (["model/head=mos"], L * CORE + E * (R * D + V * R) + E * D),
        (["model/head=mixture_of_logits"], L * CORE + E * (R * D + V * R) + E * D),
        (["model/head=simplex"], L * CORE + R * D + V * R),
        (
            ["model/embedding=albert"],
            L * CORE + R * D + (R * D + V * R),
        ),  # into the trunk, and back out through both factors
        (["model/embedding=albert", "model/head=untied"], L * CORE + R * D + V * D),
        (["model/q_proj=low_rank"], L * (CORE - D * D + 2 * D * 12) + V * D),
        (["model/mlp=swiglu"], L * (CORE - 2 * D * M + 3 * D * 43) + V * D),
        (["model/mlp=pre_rotation"], L * (CORE + 4 * D) + V * D),
        (["model/mlp=pre_rotation", "model.mlp.implementation=split"], L * (CORE + 4 * D + 8 * M) + V * D),
        (["model/mlp=pre_rotation", "model.mlp.implementation=triton"], L * (CORE + 4 * D) + V * D),
        (["model/depth=plain"], L * CORE + V * D),
        (["model.unique_blocks=1"], L * CORE + V * D),
    ],
    ids=str,
)
def test_flops_are_six_a_matmul_weight_used_plus_causal_attention(overrides, weights):
    model = build_model(tiny_config(*overrides).model)
    assert flops_per_token(model) == 6 * weights + ATTENTION
    assert account(tiny_config(*overrides)).flops_per_token == 6 * weights + ATTENTION


@pytest.mark.parametrize(("option", "value"), [("train.seq_len", 32), ("model.kv_heads", 1), ("model.layers", 5)])
def test_flops_of_other_sizes(option, value):
    config = tiny_config(f"{option}={value}").model
    kv, time, layers = config.kv_heads * K, config.seq_len, config.layers
    core = D * D + 2 * D * kv + D * D + 2 * D * M
    assert flops_per_token(build_model(config)) == 6 * (layers * core + V * D) + 6 * layers * H * K * time


def test_published_flops_of_the_baseline():
    matmuls = 9 * (786_432 + 1_048_576) + 1024 * 512
    assert account(published()).flops_per_token == 6 * matmuls + 6 * 9 * 512 * 1024


@pytest.mark.parametrize("stem", stems("quant"))
@pytest.mark.parametrize("variant", ["model/head=tied", "model/head=mos", "model/embedding=albert"])
def test_payload_is_the_bytes_of_the_encoded_arrays(stem, variant):
    config = replace(tiny_config(variant), quant=tiny_config(f"quant={stem}").quant)
    want = uncompressed_bytes(encode_state(tiny_model(config), build_quantizer(config)))
    costs = account(config, every_quantizer=True)
    assert costs.payload_bytes[stem] == costs.payload_bytes["chosen"] == want > 0


def test_every_quantizer_is_listed_and_overrides_reach_the_chosen_one():
    costs = account(tiny_config("quant=int8_zlib", "quant.keep_float_numel=1000000"), every_quantizer=True)
    assert set(costs.payload_bytes) == {*stems("quant"), "chosen"}
    assert costs.payload_bytes["chosen"] > costs.payload_bytes["int8_zlib"]


def test_counting_needs_no_memory():
    config = tiny_config(
        "model.width=4096", "model.heads=32", "model.kv_heads=8", "model.layers=60", "model.vocab_size=200000"
    )
    assert account(config).total > 7_000_000_000


def order_0(data: bytes) -> float:
    """Bytes that an ideal coder needs for these bytes: the sum of n log2(N / n) / 8, in float64."""
    return sum(n * math.log2(len(data) / n) for n in Counter(data).values()) / 8


@pytest.mark.parametrize("stem", ["int8_zlib", "int6_entropy"])
def test_every_packed_tensor_has_its_bytes_and_its_bound(stem, tmp_path, capsys):
    config = tiny_config(f"quant={stem}", "model.width=64", "model.mlp_hidden=512")
    path, tokenizer = tmp_path / "a.pgolf", tmp_path / "tokenizer"
    tokenizer.write_bytes(b"any")
    pack(tiny_model(config), config.model, tokenizer, build_quantizer(config), path)
    tensors, encoded = packed_tensors(path), read_container(path)[1]
    assert [t.name for t in tensors] == list(encoded)
    codes = 0
    for tensor in tensors:
        arrays = encoded[tensor.name].arrays
        planes = [a.tobytes()[byte :: a.itemsize] for a in arrays.values() for byte in range(a.itemsize)]
        assert tensor.entropy_bytes == sum(math.ceil(order_0(plane) - 1e-9) for plane in planes)
        assert tensor.stored_bytes == sum(a.nbytes for a in arrays.values())
        assert tensor.values == math.prod(encoded[tensor.name].shape)
        codes += "codes" in arrays
    assert codes > 0
    assert unpack(path, CPU).entropy_bytes == sum(t.entropy_bytes for t in tensors)
    largest = max(tensors, key=lambda t: t.values)
    assert largest.entropy_bytes < largest.packed_bytes < 1.2 * largest.entropy_bytes, "a coder comes near its bound"
    assert params.main(["--packed", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split() == [
        "all",
        *(
            f"{sum(getattr(t, key) for t in tensors):,}"
            for key in ("values", "stored_bytes", "packed_bytes", "entropy_bytes")
        ),
    ]
    assert any(line.split()[0] == largest.name and f"{largest.entropy_bytes:,}" in line for line in lines)
