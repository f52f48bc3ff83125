"""Memory that this process has used."""

import resource
import sys

import torch


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory in bytes: allocated on a CUDA device, or the resident set of this process on a CPU and on
    Apple's GPUs, whose memory is that of the computer.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
