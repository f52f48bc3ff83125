"""Ranks of one run: gloo on CPUs, NCCL on GPUs, no process group for a single rank."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

BUCKET_BYTES = 25 * 2**20  # gradients of one all-reduce; that of torch's DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank` of the `world` processes of a run. group: None for torch's default group."""

    rank: int = 0
    world: int = 1
    group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    @contextmanager
    def mean_gradients(self, parameters: Sequence[Tensor], bucket_bytes: int = BUCKET_BYTES) -> Iterator[None]:
        """Replace every gradient by its mean over ranks. The block is the last backward pass of a step.

        Gradients travel in buckets of at most bucket_bytes (or one parameter) while the pass still computes the others.
        A missing gradient counts as zero. Afterwards every parameter has a gradient. Every rank must compute the same
        graph.
        """
        if self.world == 1 or not parameters:
            yield
            return
        reduction = Buckets(self, parameters, bucket_bytes)
        hooks = [p.register_post_accumulate_grad_hook(reduction.accumulated) for p in parameters]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        reduction.finish()

    def max(self, value: float) -> float:
        """The largest value over ranks, for example of their clocks. All get the same answer, and can act together.

        It travels between CPUs: no GPU is waited for.
        """
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self.group)
        return float(tensor.item())

    def wait(self) -> None:
        """Wait until all ranks have come here. An all-reduce on GPUs does not hold back the process that starts it."""
        self.max(0.0)


class Buckets:
    """The gradients of one step on their way between ranks.

    Autograd finishes the last layers first, so the buckets hold the parameters in reverse order. They are sent in one
    fixed order, because all ranks must send the same ones together.
    """

    def __init__(self, ranks: Ranks, parameters: Sequence[Tensor], bucket_bytes: int):
        self.ranks = ranks
        self.buckets = bucketed(parameters, bucket_bytes)
        self.bucket_of = {id(p): number for number, bucket in enumerate(self.buckets) for p in bucket}
        self.missing = [len(bucket) for bucket in self.buckets]  # gradients that a bucket still waits for
        self.sent: list[tuple[Tensor, dist.Work | None]] = []

    def accumulated(self, p: Tensor) -> None:
        """The hook of a parameter: its gradient is complete."""
        self.missing[self.bucket_of[id(p)]] -= 1
        while len(self.sent) < len(self.buckets) and self.missing[len(self.sent)] == 0:
            self.send()

    @torch.no_grad()
    def send(self) -> None:
        """Start the all-reduce of the next bucket."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.buckets[len(self.sent)]]
        flat = torch.cat([grad.flatten() for grad in grads])
        self.sent.append((flat, dist.all_reduce(flat, group=self.ranks.group, async_op=True)))

    def finish(self) -> None:
        """Send the buckets that have waited for a missing gradient, wait for all, and set the gradients."""
        while len(self.sent) < len(self.buckets):
            self.send()
        for bucket, (flat, work) in zip(self.buckets, self.sent, strict=True):
            if work is not None:
                work.wait()
            flat.div_(self.ranks.world)
            for p, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                p.grad = part.view_as(p)


def bucketed(parameters: Sequence[Tensor], bucket_bytes: int) -> list[list[Tensor]]:
    """The parameters in reverse order, in buckets of one type and device and of at most bucket_bytes."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = defaultdict(list)
    for p in reversed(parameters):
        kinds[p.dtype, p.device].append(p)
    buckets: list[list[Tensor]] = []
    for kind in kinds.values():
        bucket: list[Tensor] = []
        for p in kind:
            if bucket and sum(q.nbytes for q in bucket) + p.nbytes > bucket_bytes:
                buckets.append(bucket)
                bucket = []
            bucket.append(p)
        buckets.append(bucket)
    return buckets


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun describes in the environment, or a single rank. Opens and closes the process group.

    With GPUs, tensors on the CPU have a group of their own: flags and clocks are exchanged without waiting for a GPU.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
