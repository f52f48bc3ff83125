"""Rounding fp32 tensors after each step equals an optimizer on bf16 tensors."""

import pytest
import torch

from pgolf.machine.ranks import Ranks
from pgolf.optim.adam import Adam
from pgolf.training.defects import Bf16Masters

SETTINGS = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8}


def gradient(step: int) -> torch.Tensor:
    return torch.randn(40, 24, generator=torch.Generator().manual_seed(step)).bfloat16()


@pytest.mark.parametrize(("lr", "decay"), [(0.05, 0.0), (0.035, 0.04), (1e-4, 0.0)])
def test_equals_torchs_fused_adamw_on_bf16_tensors(lr, decay):
    start = gradient(99)
    real, ours = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.float())
    theirs = torch.optim.AdamW([real], lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=decay, fused=True)
    mine = Adam([ours], Ranks(), lr=lr, weight_decay=decay, **SETTINGS)
    masters = Bf16Masters([ours], [mine])
    for step in range(25):
        real.grad, ours.grad = gradient(step), gradient(step).float()
        theirs.step()
        mine.step()
        masters.round()
        assert torch.equal(real.float(), ours), step
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(theirs.state[real][key].float(), mine.state[ours][key]), key
    assert not torch.equal(ours, start.float())


def test_small_updates_are_lost_in_bf16_and_kept_in_fp32():
    p, q = (torch.nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    rounded, exact = (Adam([w], Ranks(), lr=1e-3, weight_decay=0.0, **SETTINGS) for w in (p, q))
    masters = Bf16Masters([p], [rounded])
    for _ in range(20):
        for w, optimizer in ((p, rounded), (q, exact)):
            w.grad = -torch.ones(3, 3)
            optimizer.step()
        masters.round()
    assert bool((p == 1).all())
    assert bool((q > 1.015).all())


def test_others_and_counters_are_left_alone():
    table, other = torch.nn.Parameter(torch.full((2, 2), 1.001)), torch.nn.Parameter(torch.full((2, 2), 1.001))
    optimizer = Adam([table, other], Ranks(), lr=0.05, weight_decay=0.0, **SETTINGS)
    masters = Bf16Masters([table], [optimizer])
    for _ in range(300):
        table.grad = other.grad = torch.full((2, 2), 0.1234567)
        optimizer.step()
        masters.round()
    assert int(optimizer.state[table]["step"]) == 300  # bf16 cannot represent 300
    assert torch.equal(table, table.bfloat16().float())
    assert not torch.equal(other, other.bfloat16().float())
    assert not torch.equal(optimizer.state[other]["exp_avg"], optimizer.state[other]["exp_avg"].bfloat16().float())


def test_a_table_that_no_optimizer_owns_is_rounded_too():
    p = torch.nn.Parameter(torch.full((2, 2), 1.001))
    Bf16Masters([p], []).round()
    assert torch.equal(p, torch.full((2, 2), 1.0))
