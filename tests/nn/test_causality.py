"""No prediction depends on a later token, bit for bit, in any variant; and the check finds planted leaks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.nn.attention import Attention
from pgolf.nn.depth.unet import UNet
from pgolf.nn.embedding.full import Full as FullEmbedding
from pgolf.nn.head.mos import MixtureOfSoftmaxes
from pgolf.nn.head.tied import Tied
from pgolf.nn.mlp.relu2 import Relu2
from pgolf.nn.primitives import rms_norm, rotate
from pgolf.nn.q_proj.full import Full as FullQ
from tiny import ALL_VARIANTS, leaks, redraw, tiny_config, tiny_model


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_no_variant_sees_the_future(variant):
    assert leaks(tiny_model(tiny_config(variant))) == []


@pytest.mark.parametrize(
    "overrides", [["model.unique_blocks=1"], ["model.layers=4", "model.unique_blocks=2"], ["model.kv_heads=4"]], ids=str
)
def test_no_trunk_option_sees_the_future(overrides):
    assert leaks(tiny_model(tiny_config(*overrides))) == []


class TwoWayAttention(Attention):
    """Attends to all positions."""

    def forward(self, x_BTD: Tensor, q_BTD: Tensor, rotary: tuple[Tensor, Tensor], **_: object) -> Tensor:
        batch, time, width = x_BTD.shape
        q = rotate(rms_norm(q_BTD.view(batch, time, self.heads, -1)), *rotary) * self.q_gain[:, None]
        k = rotate(rms_norm(self.k(x_BTD).view(batch, time, self.kv_heads, -1)), *rotary)
        v = self.v(x_BTD).view(batch, time, self.kv_heads, -1)
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), enable_gqa=True)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


class QueryFromTheFuture(FullQ):
    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.proj(x_BTD.roll(-1, dims=1))


class MixesTime(Relu2):
    def forward(self, x_BTD: Tensor) -> Tensor:
        return super().forward(x_BTD) + 1e-3 * x_BTD.mean(1, keepdim=True)


class GatedMixesTime(Relu2):
    """Leaks through a weight that starts at zero."""

    def __init__(self, dims, layer):
        super().__init__(dims, layer)
        self.gate = nn.Parameter(torch.empty(dims.width))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.gate)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return super().forward(x_BTD) + self.gate * x_BTD.roll(-1, dims=1)


class MixesSequences(Relu2):
    def forward(self, x_BTD: Tensor) -> Tensor:
        return super().forward(x_BTD) + x_BTD.mean(0, keepdim=True)


class LeakyDepth(UNet):
    """Normalises by statistics of the whole sequence."""

    def forward(self, x_BTD, blocks):
        x_BTD = super().forward(x_BTD, blocks)
        return x_BTD / x_BTD.std(dim=1, keepdim=True)


class NextEmbedding(FullEmbedding):
    def forward(self, ids_BT: Tensor) -> Tensor:
        return super().forward(ids_BT) + super().forward(ids_BT.roll(-1, dims=1))


class LooksAhead(Tied):
    def scores(self, x_BTD: Tensor) -> Tensor:
        return super().scores(x_BTD + x_BTD.roll(-1, dims=1))


class NllLooksAhead(MixtureOfSoftmaxes):
    """A correct `logp`, but an `nll` that reads the state of the next position."""

    def nll(self, x_BTD: Tensor, y_BT: Tensor) -> Tensor:
        return super().nll(x_BTD + x_BTD.roll(-1, dims=1), y_BT)


def planted(slot: str, cls: type, **keys) -> dict:
    config = tiny_config()
    setattr(config.model, slot, {"_target_": cls, "_partial_": True, **keys})
    return config


LEAKS = {
    "q_proj": planted("q_proj", QueryFromTheFuture),
    "mlp": planted("mlp", MixesTime),
    "gated mlp": planted("mlp", GatedMixesTime),
    "mlp over the batch": planted("mlp", MixesSequences),
    "depth": planted("depth", LeakyDepth),
    "embedding": planted("embedding", NextEmbedding, init_std=0.005),
    "head": planted("head", LooksAhead),
    "nll of a head": planted("head", NllLooksAhead, rank=4, experts=2, zero_up=False),
}


@pytest.mark.parametrize("where", LEAKS)
def test_a_planted_leak_is_found(where):
    assert leaks(tiny_model(LEAKS[where])) != []


def test_a_leak_in_one_layer_of_attention_is_found():
    model = tiny_model(tiny_config())
    two_way = TwoWayAttention(model.dims, q_gain_init=1.5)
    redraw(two_way, 3)
    model.attention[2] = two_way
    assert leaks(model) != []


def test_a_leak_behind_a_zero_weight_shows_only_when_redrawn():
    untouched = tiny_model(LEAKS["gated mlp"], seed=None)
    with torch.no_grad():  # the leak's own gate stays zero, all else is redrawn
        redraw(untouched, 1)
        for mlp in untouched.mlp:
            mlp.gate.zero_()
    assert leaks(untouched) == []
    assert leaks(tiny_model(LEAKS["gated mlp"])) != []


def test_a_model_that_ignores_its_input_does_not_pass():
    model = tiny_model(tiny_config())
    with torch.no_grad():
        model.embedding.table.weight.copy_(model.embedding.table.weight[:1].expand_as(model.embedding.table.weight))
    assert any("changes nothing" in leak for leak in leaks(model))
