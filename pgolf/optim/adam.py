"""Adam with decoupled weight decay: torch's AdamW."""

from collections.abc import Iterable
from inspect import unwrap

import torch
from torch import Tensor

from pgolf.errors import require
from pgolf.machine.ranks import Ranks

UNDECORATED_STEP = unwrap(torch.optim.AdamW.step)


class Adam(torch.optim.AdamW):
    """torch's fused AdamW (arXiv 1412.6980, 1711.05101). Every rank makes the same update.

    weight_decay: p <- (1 - lr wd) p with the scheduled lr, before the update; with 0 the algorithm is Adam. Invalid
    hyperparameters raise OptionError.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        ranks: Ranks,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
    ):
        require(lr > 0, "lr", lr, "choose a positive learning rate")
        for key, value in (("beta1", beta1), ("beta2", beta2)):
            require(0 <= value < 1, key, value, "choose from 0 up to, not including, 1")
        require(eps > 0, "eps", eps, "choose a positive number")
        require(weight_decay >= 0, "weight_decay", weight_decay, "choose 0 or more")
        super().__init__(
            params, lr=lr, betas=(float(beta1), float(beta2)), eps=eps, weight_decay=weight_decay, fused=True
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """torch's step, without the decorator that only tells torch's compiler where to stop and so imports it."""
        UNDECORATED_STEP(self)
