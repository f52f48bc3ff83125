"""The memory estimate against what torch's profiler sees of the real thing, and against real optimizers."""

import re
import time

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from pgolf.config.auto import shortages
from pgolf.config.build import build_model, build_optimizers, start_weights
from pgolf.config.memory_floor import memory_floor_bytes
from pgolf.config.schema import Config
from pgolf.execution.memory import activation_bytes, estimates, memory, memory_text
from pgolf.machine.ranks import Ranks
from tiny import composed_config

SMALL = ("train.seq_len=128", "train.batch_tokens=1024", "train.micro_batches=2")


def config_of(*overrides: str) -> Config:
    return composed_config(*SMALL, *overrides)


def started(config: Config) -> torch.nn.Module:
    model = build_model(config.model)
    start_weights(model, config.model, 0, torch.device("cpu"))
    return model


def profiled_peak(model: torch.nn.Module, ids: Tensor) -> int:
    """Most bytes at once that torch's profiler saw allocated by two micro-batches' passes, less the gradients."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        for _ in range(2):
            model(ids, ids).mean().backward()
    now = peak = 0
    for event in sorted(
        (e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
    ):
        now += event.nbytes()
        peak = max(peak, now)
    return peak - sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "overrides", [(), ("model/head=mos",), ("stack=pr908", "scale=cpu"), ("stack=pr470", "scale=cpu")], ids=str
)
def test_activations_are_those_of_a_real_pass(overrides):
    config = config_of(*overrides)
    real = profiled_peak(started(config), torch.zeros(4, 128, dtype=torch.long))
    assert activation_bytes(config, bf16=False) == pytest.approx(real, rel=0.1)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_triton_form_is_counted_without_triton_and_keeps_less_than_the_eager_one(bf16):
    eager, triton = (
        activation_bytes(config_of("model/mlp=pre_rotation", f"model.mlp.implementation={form}"), bf16=bf16)
        for form in ("eager", "triton")
    )
    assert 0.5 * eager < triton < eager


def test_optimizer_and_weights_are_those_of_real_ones():
    config = config_of("stack=pr908", "scale=cpu", "optim.frozen=[model.embedding]")
    model = started(config)
    trained = build_optimizers(model, config, Ranks())
    model(torch.zeros(1, 128, dtype=torch.long), torch.zeros(1, 128, dtype=torch.long)).mean().backward()
    kept = 0
    for optimizer in trained.optimizers.values():
        optimizer.step()
        kept += sum(
            v.nbytes for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor) and v.ndim
        )
    costs = memory(config, bf16=False)
    assert costs.optimizer == pytest.approx(kept, rel=1e-4)  # a scalar's state has the shape of its step count
    assert costs.weights == sum(p.nbytes for p in model.parameters())
    assert costs.gradients == costs.averages == sum(p.nbytes for p in model.parameters() if p.requires_grad)


def test_bf16_takes_less_and_a_longer_micro_batch_more():
    config = config_of("model/head=mos", "model.layers=2")
    assert activation_bytes(config, bf16=True) < activation_bytes(config, bf16=False)
    longer = config_of("model/head=mos", "model.layers=2", "train.batch_tokens=2048")
    assert activation_bytes(longer, bf16=False) == pytest.approx(2 * activation_bytes(config, bf16=False), rel=0.1)


def test_gradients_of_earlier_micro_batches_are_there_all_along():
    """A wide model on few tokens: what one micro-batch holds beside the gradients is less than what the second does."""
    wide = ("model.width=256", "train.batch_tokens=256")
    one, two = (
        activation_bytes(config_of(*wide, f"train.micro_batches={n}", f"train.seq_len={128}"), bf16=False)
        for n in (1, 2)
    )
    assert two > one / 2


def test_a_deep_model_is_counted_at_once_and_without_activations():
    costs = estimates(config_of("model.width=65536", "model.layers=256", "model.heads=512", "train.precision=fp32"))
    assert costs["fp32"].activations == 0
    assert memory_text(costs).startswith("at least ")


def test_memory_text_names_the_configured_precision():
    assert memory_text(estimates(config_of("train.precision=fp32", "model.layers=2"))).endswith(" GB in fp32")
    assert " GB in fp32, " in memory_text(estimates(config_of("model.layers=2")))


@pytest.mark.parametrize(
    "overrides",
    [(), ("stack=pr908", "scale=cpu"), ("model.layers=64",), ("model.layers=64", "model.unique_blocks=3")],
    ids=str,
)
def test_the_floor_is_below_the_estimate_and_near_it(overrides):
    config = config_of(*overrides)
    costs = memory(config, bf16=False)
    known = costs.weights + costs.gradients + costs.optimizer
    assert 0.8 * known < memory_floor_bytes(config) <= known


@pytest.mark.parametrize("size", ["model.width=1000000", "model.layers=100000000", "model.width=1000000000000"])
def test_a_model_that_no_memory_holds_is_refused_unbuilt(size):
    config = config_of(size, "model.heads=4", "train.threads=1")
    began = time.perf_counter()
    (line,) = [line for line in shortages(config) if line.startswith("model:")]
    assert time.perf_counter() - began < 5  # a tenth of a second; a machine under load is slower
    assert re.fullmatch(
        r"model: weights, gradients and optimizer states take at least [\d,.]+ GB, "
        r"this machine has [\d,.]+ GB \(.*\)\. Choose a .*",
        line,
    )
    assert not [line for line in shortages(config_of()) if line.startswith("model:")]
