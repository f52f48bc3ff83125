"""Each stack at scale=cpu: smaller, with all of its features."""

import json
import struct
from dataclasses import replace

import pytest
import torch

from pgolf.config.build import (
    build_averaging,
    build_budget,
    build_model,
    build_quantizer,
    build_schedule,
    start_weights,
)
from pgolf.execution.account import account
from pgolf.execution.artifact import pack
from pgolf.nn.naming import named_tensors
from pgolf.optim.averaging import ExponentialAverage, SnapshotAverage
from pgolf.quant.codecs import decompress
from pgolf.quant.container import MAGIC, read_container
from tiny import CPU, STACKS, cpu_config, logp_of, random_ids, redraw, stack_config, tiny_model

BLOCKS = ("model.q_proj.", "model.attention.", "model.mlp.")


@pytest.mark.parametrize("stack", STACKS)
def test_the_rate_is_full_at_first_and_ends_as_published(stack):
    config = cpu_config(stack)
    schedule, steps = build_schedule(config.optim, build_budget(config.train)), config.train.steps
    scales = [schedule(step, 0.0) for step in range(steps + 1)]
    assert scales[0] == max(scales) == 1.0
    assert scales[steps] == 0.0
    zero_for = sum(scale == 0 for scale in scales[:steps]) / steps
    assert zero_for == pytest.approx(0.1 if stack == "pr470" else 0.0)


def test_the_moving_average_has_forgotten_its_start():
    config = cpu_config("pr908")
    averaging = build_averaging(config.optim)
    assert isinstance(averaging, ExponentialAverage)
    assert averaging.decay**config.train.steps < 0.01


def test_snapshots_are_taken_over_the_published_share():
    config = cpu_config("pr470")
    averaging = build_averaging(config.optim)
    assert isinstance(averaging, SnapshotAverage)
    assert (averaging.start_step, averaging.interval_steps) == (round(0.65 * config.train.steps), 1)


@pytest.mark.parametrize("stack", ["baseline", "pr215", "pr1481"])
def test_the_others_average_nothing(stack):
    assert build_averaging(cpu_config(stack).optim).average() is None


@pytest.mark.parametrize("stack", STACKS)
def test_block_weights_are_really_quantized(stack):
    """At least 80% of them are integer codes in the encoded state, with more than one level."""
    config = cpu_config(stack)
    model = build_model(config.model)
    start_weights(model, config.model, 1, CPU)
    redraw(model, 1)
    quantizer, coded, total = build_quantizer(config), 0, 0
    for name, p in named_tensors(model).items():
        if not name.startswith(BLOCKS):
            continue
        encoded = quantizer.encode(name, p.detach())
        total += p.numel()
        if encoded.scheme == "int":
            assert len(set(encoded.arrays["codes"].flatten().tolist())) > 8, name
            coded += p.numel()
    assert coded >= 0.8 * total > 0


@pytest.mark.parametrize("stack", STACKS)
def test_account_is_the_length_of_the_packed_stream(stack, tmp_path):
    config = stack_config(stack)
    quantizer, path = build_quantizer(config), tmp_path / "a.pgolf"
    (tmp_path / "tokenizer").write_bytes(b"any")
    pack(tiny_model(config), config.model, tmp_path / "tokenizer", quantizer, path)
    whole = path.read_bytes()
    magic, _, length, _ = struct.unpack("<8sII16s", whole[:32])
    assert magic == MAGIC
    about = json.loads(whole[32 : 32 + length])["payload"]
    want = account(config).payload_bytes["chosen"]
    assert len(decompress(whole[32 + length :], quantizer.codec, about["bytes"])) == about["bytes"] == want
    _, tensors = read_container(path)
    assert sum(array.nbytes for tensor in tensors.values() for array in tensor.arrays.values()) == want


SIZES = {  # rank, side-input widths, rotary dims, layers with XSA, smallest orthogonal side, float threshold
    "baseline": {"mlp_hidden": 256, "rotary_dims": 32, "keep": 4096},
    "pr215": {"mlp_hidden": 384, "rotary_dims": 32, "keep": 4096, "q_proj.rank": 48},
    "pr1481": {"mlp_hidden": 256, "rotary_dims": 32, "keep": 4096, "embedding.rank": 32},
    "pr470": {
        "mlp_hidden": 640,
        "rotary_dims": 32,
        "keep": 1024,
        "unique_blocks": 1,
        "side_inputs.bigram_embed.buckets": 4096,
    },
    "pr908": {
        "mlp_hidden": 384,
        "rotary_dims": 8,
        "keep": 4096,
        "xsa_last_n": 4,
        "orthogonal_min_dim": 16,
        "side_inputs.bigram_residual.rank": 32,
        "side_inputs.value_embedding.rank": 32,
    },
}


@pytest.mark.parametrize("stack", SIZES)
def test_sizes_are_scaled_from_the_published_ones(stack):
    config, sizes = cpu_config(stack), {}
    for key in SIZES[stack]:
        node = vars(config.model)
        for part in key.split("."):
            node = config.quant["keep_float_numel"] if key == "keep" else node[part]
        sizes[key] = node
    assert sizes == SIZES[stack]
    assert (config.model.width, config.model.layers) == (128, 4)


PLAIN = {"_target_": "pgolf.nn.depth.plain.Plain", "_partial_": True}
COMMON = {
    "skips": {"depth": PLAIN},
    "softcap": {"logit_softcap": 5.0},
    "rotary base": {"rope_base": 100.0},
    "rotary dims": {"rotary_dims": 4},
    "bf16 frequencies": {"rope_bf16_frequencies": True},
    "sharing": {"unique_blocks": 2},
}
TOGGLES = {
    **{stack: COMMON for stack in STACKS},
    "pr470": {**COMMON, "bigram_embed": {"side_inputs": ()}},
    "pr908": {
        **COMMON,
        "partial rotation": {"rotary_dims": 32},
        "NTK": {"rope_ntk_factor": 1.0},
        "norms by depth": {"depth_scaled_norm": False},
        "XSA": {"xsa_last_n": 0},
        "XSA of one layer less": {"xsa_last_n": 3},
        "smear gate": {"smear_gate": False},
        "bigram_residual": {"side_inputs": ("value_embedding",)},
        "value_embedding": {"side_inputs": ("bigram_residual",)},
    },
}


@pytest.mark.parametrize("stack", STACKS)
@torch.no_grad()
def test_every_feature_changes_the_output(stack):
    """Weights are drawn by name, so that two models have equal weights under equal names."""
    config = cpu_config(stack)
    vocab = config.model.vocab_size
    ids = random_ids(1, 48, vocab)

    def logits(changes: dict) -> torch.Tensor:
        model = replace(config.model, **changes)
        if "side_inputs" in changes:
            model.side_inputs = {name: config.model.side_inputs[name] for name in changes["side_inputs"]}
        built = build_model(model)
        built.to_empty(device="cpu")
        redraw(built, 1, std=0.1)
        return logp_of(built, ids)

    base = logits({})
    assert torch.equal(base, logits({}))
    dead = [name for name, changes in TOGGLES[stack].items() if torch.allclose(logits(changes), base, atol=1e-5)]
    assert dead == []


@pytest.mark.parametrize("stack", STACKS)
@torch.no_grad()
def test_every_weight_changes_the_prediction(stack):
    """Low-rank factors, gains per head, dimension and pass, skips, mixing weights, hash tables: all have an effect."""
    model = tiny_model(stack_config(stack))
    ids = random_ids(2, 10)
    before = logp_of(model, ids)
    for name, p in model.named_parameters():
        backup = p.clone()
        p.mul_(1.3).add_(0.05)
        assert not torch.allclose(logp_of(model, ids), before, atol=1e-6), f"{name} has no effect"
        p.copy_(backup)
    assert torch.equal(logp_of(model, ids), before)
