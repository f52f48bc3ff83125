"""What the Triton form of pre-rotation needs, and what it can do. Importing this module does not need Triton."""

import importlib.util
import os

import torch
from torch import Tensor

from pgolf.errors import require_present

MOST_PAIRS = 128  # a tile of the kernel holds all angles of its tokens; many GPUs lack shared memory for more
MISSING = "the package triton is missing: python -m pip install 'pgolf[triton]', or choose eager or split"
NEEDS_GPU = "choose device=cuda, eager or split; TRITON_INTERPRET=1 runs the kernel on a CPU, slowly, as a check"


def require_triton(key: str, value: object, device: str) -> None:
    """Raise UnavailableOption unless this machine can run Triton kernels on a device, `cpu` or `cuda`."""
    require_present(importlib.util.find_spec("triton") is not None, key, value, MISSING)
    can_run = device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    require_present(can_run, key, value, f"the device is {device}: {NEEDS_GPU}")


def angle_dtype(x: Tensor, source: Tensor) -> torch.dtype:
    """The type of angles, sums, cosines and sines: fp64 if the source or x is, else fp32."""
    return torch.float64 if torch.float64 in (x.dtype, source.dtype) else torch.float32
