"""Adam is torch's AdamW, with our names of hyperparameters."""

import pytest
import torch

from pgolf.errors import OptionError
from pgolf.machine.ranks import Ranks
from pgolf.optim.adam import Adam

SETTINGS = {"lr": 0.04, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0}


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_the_formula(w: torch.Tensor, grads: list[torch.Tensor], s: dict) -> torch.Tensor:
    m = v = torch.zeros_like(w)
    for step, g in enumerate(grads, start=1):
        w = w * (1 - s["lr"] * s["weight_decay"])
        m = s["beta1"] * m + (1 - s["beta1"]) * g
        v = s["beta2"] * v + (1 - s["beta2"]) * g * g
        w = w - s["lr"] * (m / (1 - s["beta1"] ** step)) / ((v / (1 - s["beta2"] ** step)).sqrt() + s["eps"])
    return w


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(4, 5), (7,), (2, 3, 4)], ids=str)
def test_equals_torch_and_the_formula(shape, decay):
    settings = {**SETTINGS, "weight_decay": decay}
    start, grads = normal(*shape, seed=0), [normal(*shape, seed=i + 1) for i in range(5)]
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = (
        Adam([ours], Ranks(), **settings),
        torch.optim.AdamW([theirs], lr=0.04, betas=(0.9, 0.95), eps=1e-8, weight_decay=decay),
    )
    for g in grads:
        ours.grad, theirs.grad = g.clone(), g.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.detach(), by_the_formula(start, grads, settings), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", 0.0), ("beta1", 1.0), ("beta1", -0.1), ("beta2", 1.0), ("eps", 0.0), ("weight_decay", -0.1)],
)
def test_settings_that_cannot_be_are_refused_by_key(key, value):
    with pytest.raises(OptionError) as refused:
        Adam([torch.nn.Parameter(torch.zeros(2))], Ranks(), **{**SETTINGS, key: value})
    assert (refused.value.key, refused.value.value) == (key, value)
