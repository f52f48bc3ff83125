"""What each block contributes: scores without it, and angles."""

import math

import pytest
import torch

from pgolf.inspect.depth import angle, depth, replaced_passes, skipped_scores, streams
from pgolf.nn.gpt import GPT
from pgolf.nn.primitives import rms_norm
from tiny import random_ids, tiny_config, tiny_model

IDS = random_ids(2, 12)


@torch.no_grad()
def loss(model: GPT) -> float:
    return float(model(IDS[:, :-1], IDS[:, 1:]).mean())


def test_blocks_that_do_nothing_can_be_skipped() -> None:
    """At the start every block is the identity: its branches end in zeros."""
    model = tiny_model(tiny_config("model/depth=plain"), seed=None)
    found = depth(model, loss, IDS)
    assert found.skipped_bpb == (found.bpb,) * 3
    assert max(found.angles) < 1e-7
    assert max(max(row) for row in found.angles_apart) < 1e-7


def test_a_skipped_block_is_left_out_of_the_stream() -> None:
    model = tiny_model(tiny_config("model/depth=plain"))
    scores, before = skipped_scores(model, loss), loss(model)
    with torch.no_grad():
        for skipped in range(3):
            blocks = [block for i, block in enumerate(model.passes()) if i != skipped]
            with replaced_passes(model, blocks):
                assert loss(model) == scores[skipped]
    assert len({*scores, before}) == 4
    assert loss(model) == before, "the model itself is unchanged"
    assert "passes" not in vars(model)


def test_blocks_of_a_variant_without_a_stream_are_skipped_by_their_outputs() -> None:
    model = tiny_model(tiny_config("model/depth=dense_scalars"))
    found, before = depth(model, loss, IDS), loss(model)
    assert found.bpb == before
    assert len({*found.skipped_bpb, before}) == 4
    assert all(0 < turned < 1 for turned in found.angles)


@pytest.mark.parametrize("choice", ["plain", "unet"])
def test_streams_are_those_of_the_model(choice: str) -> None:
    model = tiny_model(tiny_config(f"model/depth={choice}"))
    before, after = streams(model, IDS)
    assert len(before) == len(after) == 3
    with torch.no_grad():
        torch.testing.assert_close(rms_norm(after[-1].float()), model.hidden(IDS))
    if choice == "plain":
        torch.testing.assert_close(before[1], after[0])
    found = depth(model, loss, IDS)
    assert found.angles_apart[0][3] == angle(before[0], after[-1])
    assert [found.angles_apart[i][i] for i in range(4)] == pytest.approx([0] * 4, abs=1e-12)


def test_angles_are_exact_also_where_they_are_small() -> None:
    x = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    for turned in (0.0, 1e-9, 0.3, math.pi / 2, math.pi):
        y = 7 * torch.tensor([[[math.cos(turned), math.sin(turned)]]], dtype=torch.float64)
        assert angle(x, y) == pytest.approx(turned / math.pi, rel=1e-6, abs=1e-16)
