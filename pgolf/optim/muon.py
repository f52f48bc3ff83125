"""Muon: momentum that is orthogonalised by a Newton-Schulz iteration.

Source: Keller Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon), with the constants of the parameter-golf
baseline. Shapes: N matrices of R rows and C columns.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from pgolf.errors import require
from pgolf.machine.precision import iteration_dtype
from pgolf.machine.ranks import Ranks

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(u_NRC: Tensor, steps: int) -> Tensor:
    """Move the singular values of each matrix of a stack [N, R, C] towards one: X <- a X + (b A + c A^2) X, A = X X^T.

    X starts as u / (||u||_F + 1e-7), transposed if R > C. Computes in bf16 on a GPU and in the type of u on a CPU;
    returns the type of u.
    """
    a, b, c = COEFFICIENTS
    x = u_NRC.to(iteration_dtype(u_NRC))
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(u_NRC.dtype)


class Muon(torch.optim.Optimizer):
    """buf <- mu buf + g;  u = g + mu buf (nesterov) or buf;  p <- p - lr sqrt(max(1, rows/cols)) NewtonSchulz(u).

    mu rises linearly from momentum_start to momentum over momentum_warmup_steps. weight_decay is decoupled, p <- (1 -
    lr wd) p with the scheduled lr; decay_order: `before` or `after` the update. bf16_factor: round NewtonSchulz(u) to
    bf16, and again after the factor sqrt(max(1, rows/cols)), as the baseline's trainer does; lr stays in fp32. Matrices
    of one shape are orthogonalised as one batch. With several ranks, each rank orthogonalises every world-th matrix and
    the updates are summed. Invalid hyperparameters, and parameters that are not matrices, raise OptionError.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        ranks: Ranks,
        *,
        lr: float,
        momentum: float,
        momentum_start: float,
        momentum_warmup_steps: int,
        nesterov: bool,
        newton_schulz_steps: int,
        weight_decay: float,
        decay_order: Literal["before", "after"],
        bf16_factor: bool,
    ):
        for key, value in (("momentum", momentum), ("momentum_start", momentum_start)):
            require(0 <= value < 1, key, value, "choose from 0 up to, not including, 1")
        require(lr > 0, "lr", lr, "choose a positive learning rate")
        require(momentum_warmup_steps >= 0, "momentum_warmup_steps", momentum_warmup_steps, "choose 0 or more")
        require(newton_schulz_steps >= 1, "newton_schulz_steps", newton_schulz_steps, "choose 1 or more")
        require(weight_decay >= 0, "weight_decay", weight_decay, "choose 0 or more")
        settings: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "momentum_start": momentum_start,
            "momentum_warmup_steps": momentum_warmup_steps,
            "nesterov": nesterov,
            "newton_schulz_steps": newton_schulz_steps,
            "weight_decay": weight_decay,
            "decay_order": decay_order,
            "bf16_factor": bf16_factor,
            "step": 0,
        }
        self.ranks = ranks
        super().__init__(params, settings)
        for p in self.param_groups[0]["params"]:
            require(
                p.ndim == 2,
                "_target_",
                "Muon",
                f"it trains matrices only; give a role with a tensor of shape {tuple(p.shape)} to Adam",
            )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            stacks: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    stacks[p.shape].append(p)
            decay = 1 - group["lr"] * group["weight_decay"]
            for shape, matrices in stacks.items():
                factor, rate = max(1.0, shape[0] / shape[1]) ** 0.5, group["lr"]
                updates = self._updates(matrices, group)
                if group["bf16_factor"]:
                    updates = (updates.bfloat16() * factor).to(updates.dtype)
                else:
                    rate *= factor
                if group["decay_order"] == "before":
                    torch._foreach_mul_(matrices, decay)
                torch._foreach_add_(matrices, list(updates.unbind()), alpha=-rate)
                if group["decay_order"] == "after":
                    torch._foreach_mul_(matrices, decay)
            group["step"] += 1

    def _updates(self, matrices: list[Tensor], group: dict[str, Any]) -> Tensor:
        """Orthogonalised directions [N, R, C] of N matrices of one shape."""
        warm = min(group["step"] / group["momentum_warmup_steps"], 1.0) if group["momentum_warmup_steps"] else 1.0
        momentum = (1 - warm) * group["momentum_start"] + warm * group["momentum"]
        directions = []
        for p in matrices:
            grad = p.grad
            assert grad is not None
            buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
            buffer.mul_(momentum).add_(grad)
            directions.append(grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer)
        stack = torch.stack(directions)
        if self.ranks.world == 1:
            return newton_schulz(stack, group["newton_schulz_steps"])
        mine = slice(self.ranks.rank, None, self.ranks.world)
        updates = torch.zeros_like(stack)
        if len(stack[mine]):
            updates[mine] = newton_schulz(stack[mine], group["newton_schulz_steps"])
        return self.ranks.sum_(updates)
