"""A defect of the published runs: master weights and optimizer states kept in bf16."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Bf16Masters:
    """Rounds parameters, and the optimizer states of the same shape, to bf16 after every step.

    An optimizer on bf16 tensors computes in fp32 and rounds the results. Rounding fp32 tensors after each step gives
    the same numbers.
    """

    def __init__(self, parameters: Sequence[Tensor], optimizers: Sequence[torch.optim.Optimizer]):
        self.parameters, self.optimizers = parameters, optimizers

    @torch.no_grad()
    def round(self) -> None:
        """Round all tensors in place."""
        for p in self.parameters:
            p.copy_(p.bfloat16())
            for optimizer in self.optimizers:
                for state in optimizer.state.get(p, {}).values():
                    if isinstance(state, Tensor) and state.shape == p.shape:
                        state.copy_(state.bfloat16())
