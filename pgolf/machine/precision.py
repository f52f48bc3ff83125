"""Reduced precision and waiting for a device, as training and evaluation use them."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
