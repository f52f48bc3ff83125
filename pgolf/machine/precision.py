"""Reduced precision and synchronisation of a device."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """Autocast to bf16 inside, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work, so that a clock can be read. Does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
