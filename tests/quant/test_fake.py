"""Training on fake-quantized weights: those of the packed file, bit for bit, with gradients for the live ones."""

import pytest
import torch

from pgolf.config.build import build_fake, build_quantizer
from pgolf.config.compose import quantizer_choices
from pgolf.config.folders import conf_dir
from pgolf.config.schema import plain_config
from pgolf.execution.artifact import pack, unpack
from pgolf.machine.ranks import Ranks
from pgolf.optim.schedules import Budget, WallclockWarmdown
from pgolf.quant.fake import FakeQuantized
from pgolf.training.loop import train
from pgolf.training.runlog import RunLog
from tiny import CPU, STACKS, bytes_of_state, configured_job, loop_settings, random_ids, stack_config, stems, tiny_model

IDS, TARGETS = random_ids(2, 12, seed=1), random_ids(2, 12, seed=2)


def build_variant(stack: str, quant: str):
    config = stack_config(stack)
    config.quant = dict(quantizer_choices(plain_config(config)))[quant]
    quantizer = build_quantizer(config)
    return config, tiny_model(config), quantizer, build_fake(config, quantizer)


@pytest.mark.parametrize("quant", stems("quant"))
@pytest.mark.parametrize("stack", STACKS)
def test_the_forward_pass_is_that_of_the_loaded_file(stack, quant, tmp_path):
    """Difference zero in fp32, on the whole model and on each tensor."""
    config, model, quantizer, fake = build_variant(stack, quant)
    (tmp_path / "tokenizer").write_bytes(b"any")
    pack(model, config.model, tmp_path / "tokenizer", quantizer, tmp_path / "a.pgolf")
    loaded = unpack(tmp_path / "a.pgolf", CPU).model
    for (name, live), packed in zip(model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(fake(f"model.{name}", live.detach()), packed), name
    with torch.no_grad():
        seen, scored, unquantized = FakeQuantized(model, fake)(IDS, TARGETS), loaded(IDS, TARGETS), model(IDS, TARGETS)
    assert torch.equal(seen, scored)
    assert torch.equal(seen, unquantized) == (quant == "none")


@pytest.mark.parametrize("quant", stems("quant"))
@pytest.mark.parametrize("stack", ["pr470", "pr908"])
def test_gradients_go_straight_through_to_the_live_weights(stack, quant, tmp_path):
    """They are the gradients of the loaded model, and the live weights do not change."""
    config, model, quantizer, fake = build_variant(stack, quant)
    before = bytes_of_state(model)
    FakeQuantized(model, fake)(IDS, TARGETS).mean().backward()
    (tmp_path / "tokenizer").write_bytes(b"any")
    pack(model, config.model, tmp_path / "tokenizer", quantizer, tmp_path / "a.pgolf")
    loaded = unpack(tmp_path / "a.pgolf", CPU).model.requires_grad_()
    loaded(IDS, TARGETS).mean().backward()
    for (name, live), packed in zip(model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(live.grad, packed.grad), name
    assert bytes_of_state(model) == before


def test_one_wrapper_follows_the_weights():
    _, model, _, fake = build_variant("pr908", "mixed_int6_int8_zstd")
    wrapped = FakeQuantized(model, fake)
    with torch.no_grad():
        first = wrapped(IDS, TARGETS)
        model.gains[0].attn_scale.mul_(2)
        assert not torch.equal(wrapped(IDS, TARGETS), first)


class Watched:
    """A forward pass that records its calls."""

    def __init__(self, forward):
        self.forward, self.calls = forward, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.forward(*arguments)


def trained(config: dict, folder, below: float | None, **changes):
    """Ten steps whose rate falls 1, ..., 1, 0.8, 0.6, 0.4, 0.2; the model, the trace and the calls of the fake forward
    pass.
    """
    model = tiny_model(config)
    budget = Budget(10, None)
    watched = Watched(FakeQuantized(model, build_fake(config, build_quantizer(config))))
    job, _ = configured_job(
        config,
        model,
        10,
        budget=budget,
        schedule=WallclockWarmdown(budget, warmdown_fraction=None, warmdown_steps=5),
        quantized=watched,
        **changes,
    )
    with RunLog(folder, is_first=False) as log:
        trace = train(job, loop_settings(config, qat_below=below), Ranks(), log)
    return model, trace, watched.calls


@pytest.mark.parametrize(
    ("below", "first", "steps"), [(None, None, 0), (0.5, 8, 2), (0.6, 8, 2), (0.61, 7, 3), (0.1, None, 0), (1.0, 6, 4)]
)
def test_it_starts_below_the_threshold_and_stays(below, first, steps, tmp_path):
    """A scale equal to the threshold is not below it; two micro-batches per step."""
    _, trace, calls = trained(stack_config("pr908"), tmp_path, below)
    assert (trace.qat_from_step, calls) == (first, 2 * steps)


def test_it_changes_what_is_learnt_and_earlier_more(tmp_path):
    config = stack_config("pr908")
    plain, late, whole = (bytes_of_state(trained(config, tmp_path, below)[0]) for below in (None, 0.5, 1.0))
    assert plain != late
    assert late != whole


def test_the_loop_trains_the_live_weights_by_the_gradient_of_the_faked_ones(tmp_path):
    """One step of plain gradient descent equals one with the gradient of a model that holds the decoded weights."""
    config = stack_config("pr908")
    quantizer = build_quantizer(config)
    fake = build_fake(config, quantizer)
    model, reference = tiny_model(config), tiny_model(config)
    names = [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        for name, p in reference.named_parameters():
            p.copy_(fake(f"model.{name}", p))
    budget = Budget(1, None)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    job, _ = configured_job(config, model, 1)
    job = type(job)(
        **{
            **vars(job),
            "optimizers": [sgd],
            "budget": budget,
            "quantized": FakeQuantized(model, fake),
            "schedule": lambda *_: 0.1,
        }
    )
    with RunLog(tmp_path, is_first=False) as log:
        train(job, loop_settings(config, qat_below=0.5, grad_clip_norm=None), Ranks(), log)
    pairs = [job.batches.stream.micro_batch(0, i) for i in range(2)]
    loss = sum(reference(x, y).mean() for x, y in pairs) / 2
    grads = torch.autograd.grad(loss, list(reference.parameters()))
    start = dict(tiny_model(config).named_parameters())
    for name, p, g in zip(names, model.parameters(), grads, strict=True):
        torch.testing.assert_close(p.detach(), start[name].detach() - 0.1 * 0.1 * g, rtol=1e-5, atol=1e-6, msg=name)


def test_the_threshold_is_one_of_the_published_settings_and_on_in_one_stack_only():
    assert {stack: stack_config(stack).train.qat_below for stack in STACKS} == {
        **dict.fromkeys(STACKS),
        "pr908": 0.15,
    }


class TestTheFaultOfTheHeadsStudy:
    """Its fake quantization coded the blocks alone, all in 6 bits, where its packer codes first and last block in 8,
    and more tensors.
    """

    def both(self):
        right, wrong = stack_config("pr908"), stack_config("pr908", "defects=pr908")
        return build_fake(right, build_quantizer(right)), build_fake(wrong, build_quantizer(wrong)), tiny_model(right)

    def test_edges_are_coded_in_six_bits_and_nothing_outside_blocks_is(self):
        right, wrong, model = self.both()
        levels = {}
        for name, p in model.named_parameters():
            tensor, full = p.detach(), f"model.{name}"
            in_block = name.split(".")[0] in ("q_proj", "attention", "mlp") and tensor.ndim == 2
            assert torch.equal(wrong(full, tensor), tensor) != in_block, name
            if in_block:
                levels[name] = (right(full, tensor)[0].unique().numel(), wrong(full, tensor)[0].unique().numel())
                if name.split(".")[1] in ("0", "4"):
                    assert not torch.equal(right(full, tensor), wrong(full, tensor)), name
        assert all(six <= 63 for _, six in levels.values())
        assert max(eight for name, (eight, _) in levels.items() if name == "mlp.0.proj.weight") > 63

    def test_it_is_the_published_formula(self):
        """Per row, the scale is max(absmax / 31, 1/31); codes are rounded and lie in -31 .. 31."""
        _, wrong, model = self.both()
        w = model.mlp[2].fc.weight.detach().clone()
        w[0] *= 10
        scale = w.abs().amax(1, keepdim=True).clamp(min=1.0) / 31
        assert scale[0] > 1 / 31
        assert float(scale[1:].min()) == pytest.approx(1 / 31)
        want = (w / scale).round().clamp(-32, 31) * scale
        # The scale is read back from fp16.
        torch.testing.assert_close(wrong("model.mlp.2.fc.weight", w), want, rtol=1e-3, atol=0)

    def test_gradients_pass_straight_through(self):
        _, wrong, model = self.both()
        w = model.mlp[2].fc.weight
        wrong("model.mlp.2.fc.weight", w).sum().backward()
        assert bool((w.grad == 1).all())


def test_every_quantizer_is_tried():
    assert len(stems("quant")) == len(list((conf_dir() / "quant").glob("*.yaml"))) >= 6
