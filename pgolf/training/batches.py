"""Micro-batches on the device of training, each prepared while the one before it is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Stream(Protocol):
    """Training batches as a pure function of the step."""

    def micro_batch(self, step: int, index: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Batch:
    """One micro-batch: inputs and targets [B, T] on the device, and the number of bytes of the targets."""

    x_BT: Tensor
    y_BT: Tensor
    target_bytes: int


class Batches:
    """The micro-batches of a stream. bytes_of(x, y): the number of bytes of the targets of a batch on the CPU.

    For a GPU, `prepare` reads the next micro-batch and starts to copy it from pinned memory, on a CUDA stream of its
    own. The process does not wait for the copy, and the copy does not wait for the computation. A CPU has nothing to
    copy, and `prepare` does nothing.
    """

    def __init__(self, stream: Stream, bytes_of: Callable[[Tensor, Tensor], int], device: torch.device):
        self.stream, self.bytes_of, self.device = stream, bytes_of, device
        self.copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.ahead = self.copies is not None
        self.prepared: dict[tuple[int, int], Batch] = {}

    def take(self, step: int, index: int) -> Batch:
        """One micro-batch. step, index: counted from 0."""
        batch = self.prepared.pop((step, index), None) or self.fetch(step, index)
        self.prepared.clear()
        if self.copies is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_stream(self.copies)
            for tensor in (batch.x_BT, batch.y_BT):  # so that its memory is not reused before it has been read
                tensor.record_stream(computing)
        return batch

    def prepare(self, step: int, index: int) -> None:
        """Start to fetch the micro-batch that `take` will be asked for next."""
        if self.ahead:
            self.prepared[step, index] = self.fetch(step, index)

    def fetch(self, step: int, index: int) -> Batch:
        x_BT, y_BT = self.stream.micro_batch(step, index)
        target_bytes = self.bytes_of(x_BT, y_BT)
        if self.copies is None:
            return Batch(x_BT, y_BT, target_bytes)
        with torch.cuda.stream(self.copies):
            x_BT, y_BT = (tensor.pin_memory().to(self.device, non_blocking=True) for tensor in (x_BT, y_BT))
        return Batch(x_BT, y_BT, target_bytes)
