"""Reduced precision, in one place, and synchronisation of a device.

Under `train.precision=bf16`:

- Weights, gradients, optimizer states, averages and packed values are fp32. No gradient scaler is needed, since bf16
  has the range of fp32.
- Matrix products and attention compute in bf16 (torch's autocast): their inputs are rounded, their sums are fp32.
- What is added up over layers stays fp32: the embedding, the residual stream, the softcap and the loss.
- Muon's Newton-Schulz iteration computes in `iteration_dtype`, whatever train.precision says.

The published defects of bf16 (`defects`, `model.rope_bf16_frequencies`) round numbers on purpose and lie elsewhere.
"""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """Autocast to bf16 inside, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def iteration_dtype(tensor: torch.Tensor) -> torch.dtype:
    """The type in which a tensor is orthogonalised: bf16 on a GPU, as in the published runs, its own type on a CPU."""
    return torch.bfloat16 if tensor.is_cuda else tensor.dtype


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type in which losses are summed on a device: Apple's GPUs (mps) have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work, so that a clock can be read. Does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
