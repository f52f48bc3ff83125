"""No prediction of a stack depends on a later token, bit for bit, with all weights redrawn; planted leaks are found."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pgolf.nn.attention import Attention
from pgolf.nn.depth.unet import UNet
from pgolf.nn.head.tied import Tied
from pgolf.nn.primitives import rms_norm, rotate
from pgolf.nn.side_inputs.bigram_embed import BigramEmbed
from pgolf.nn.side_inputs.bigram_residual import BigramResidual
from pgolf.nn.side_inputs.value_embedding import ValueEmbedding
from pgolf.nn.smear import SmearGate
from tiny import STACKS, leaks, redraw, stack_config, tiny_model

HEADS = ("factorized", "mixture_of_logits", "mos", "simplex", "untied")


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("defects", [False, True], ids=["right", "as published"])
def test_no_stack_sees_the_future(stack, defects):
    extra = (f"defects={stack}",) if defects and stack.startswith(("pr1481", "pr470", "pr908")) else ()
    assert leaks(tiny_model(stack_config(stack, *extra))) == []


@pytest.mark.parametrize("head", HEADS)
def test_no_head_of_the_heads_study_sees_the_future(head):
    assert leaks(tiny_model(stack_config("pr908", f"model/head={head}"))) == []


@pytest.mark.parametrize(
    "overrides",
    [
        ("model/depth=plain",),
        ("model.unique_blocks=1",),
        ("model/q_proj=low_rank", "model/embedding=albert"),
        ("model/side_inputs=[bigram_embed,bigram_residual,value_embedding]",),
        ("model.xsa_last_n=5", "model.rotary_dims=16"),
    ],
    ids=str,
)
def test_no_combination_sees_the_future(overrides):
    assert leaks(tiny_model(stack_config("pr908", *overrides))) == []


class TwoWay(Attention):
    def forward(self, x_BTD: Tensor, q_BTD: Tensor, rotary, **_: object) -> Tensor:
        batch, time, width = x_BTD.shape
        q = rotate(rms_norm(q_BTD.view(batch, time, self.heads, -1)), *rotary) * self.q_gain[:, None]
        k = rotate(rms_norm(self.k(x_BTD).view(batch, time, self.kv_heads, -1)), *rotary)
        v = self.v(x_BTD).view(batch, time, self.kv_heads, -1)
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), enable_gqa=True)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


class WrongWaySmear(SmearGate):
    def forward(self, e_BTD: Tensor) -> Tensor:
        g = torch.sigmoid(self.p)
        return (1 - g) * e_BTD + g * F.pad(e_BTD[:, 1:], (0, 0, 0, 1))


class NextBigramEmbed(BigramEmbed):
    def bucket(self, ids_BT: Tensor) -> Tensor:
        return super().bucket(ids_BT.roll(-1, dims=1))


class NextBigramResidual(BigramResidual):
    def bucket(self, ids_BT: Tensor) -> Tensor:
        return ((36313 * ids_BT.roll(-1, dims=1)) ^ (27191 * ids_BT)) % (self.buckets - 1)


class NextValueEmbedding(ValueEmbedding):
    def forward(self, ids_BT: Tensor) -> Tensor:
        return super().forward(F.pad(ids_BT[:, 1:], (0, 1)))


class NextSkip(UNet):
    """The skips from the encoder to the decoder are one position ahead."""

    def forward(self, x_BTD, blocks):
        outputs: list[Tensor] = []
        for i, block in enumerate(blocks):
            if i >= len(self.skip_weights) and outputs:
                x_BTD = x_BTD + self.skip_weights[i - len(self.skip_weights)] * outputs.pop().roll(-1, dims=1)
            x_BTD = block(x_BTD)
            if i < len(self.skip_weights):
                outputs.append(x_BTD)
        return x_BTD


class NextHead(Tied):
    def scores(self, x_BTD: Tensor) -> Tensor:
        return super().scores(x_BTD + 1e-3 * x_BTD.roll(-1, dims=1))


def planted(stack: str, at: str, cls: type):
    config = stack_config(stack)
    *path, slot = at.split(".")
    node = vars(config.model)
    for key in path:
        node = node[key]
    node[slot] = {**node[slot], "_target_": cls}
    return tiny_model(config)


@pytest.mark.parametrize(
    ("stack", "at", "cls"),
    [
        ("pr470", "side_inputs.bigram_embed", NextBigramEmbed),
        ("pr908", "side_inputs.bigram_residual", NextBigramResidual),
        ("pr908", "side_inputs.value_embedding", NextValueEmbedding),
        *((stack, "depth", NextSkip) for stack in STACKS),
        *((stack, "head", NextHead) for stack in STACKS),
    ],
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_leak_planted_in_a_slot_is_found(stack, at, cls):
    assert any("sees token" in leak for leak in leaks(planted(stack, at, cls)))


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("layer", [0, -1])
def test_a_mask_left_open_in_one_core_is_found(stack, layer):
    model = tiny_model(stack_config(stack))
    two_way = TwoWay(model.dims, q_gain_init=1.5)
    redraw(two_way, 3)
    model.attention[layer] = two_way
    assert any("sees token" in leak for leak in leaks(model))


def test_a_smear_gate_that_looks_the_wrong_way_is_found():
    model = tiny_model(stack_config("pr908"))
    wrong = WrongWaySmear(model.dims)
    redraw(wrong, 3)
    model.smear = wrong
    assert any("sees token" in leak for leak in leaks(model))


def test_leaks_hide_behind_the_published_initial_weights():
    """With the initial tables and outputs of zero, the leak of the hash has no effect. So all weights are redrawn."""
    config = stack_config("pr470")
    config.model.side_inputs["bigram_embed"]["_target_"] = NextBigramEmbed
    assert not any("sees token" in leak for leak in leaks(tiny_model(config, seed=None)))
    assert any("sees token" in leak for leak in leaks(tiny_model(config)))
