"""Ranks of one run: gloo on CPUs, NCCL on GPUs, no process group for a single rank."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank` of the `world` processes of a run."""

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def mean_gradients_(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by its mean over ranks, in one all-reduce. A missing gradient counts as zero."""
        if self.world == 1 or not parameters:
            return
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.flatten() for g in grads])
        self.sum_(flat).div_(self.world)
        for p, part in zip(parameters, flat.split([g.numel() for g in grads]), strict=True):
            p.grad = part.view_as(p)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is true on any rank. All ranks get the same answer, so they can leave a loop together."""
        return bool(self.sum_(torch.tensor(float(flag), device=device)).item() > 0)

    def max(self, value: float, device: torch.device) -> float:
        """The largest value over ranks, for example of their clocks."""
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return float(tensor.item())


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun describes in the environment, or a single rank. Opens and closes the process group."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
