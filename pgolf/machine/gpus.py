"""Which GPUs a job has to itself: jobs of all sweeps on one machine share them out by locks."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock

from pgolf.machine.locks import acquire

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 0.5


def visible_devices() -> list[str]:
    """Names of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def device_sets(devices: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """As many disjoint sets of `size` devices as there are; what is left over serves no job."""
    return [tuple(devices[first : first + size]) for first in range(0, len(devices) - size + 1, size)]


@contextmanager
def pinned(size: int, devices: Sequence[str], locks: Path | None = None) -> Iterator[dict[str, str]]:
    """The environment of a job that has `size` devices to itself, {} for none; waits until a set is free.

    locks: a folder that all jobs of this machine share, by default in its temporary folder.
    """
    if not size:
        yield {}
        return
    folder = locks or Path(tempfile.gettempdir()) / f"pgolf-gpus-{os.getuid() if hasattr(os, 'getuid') else 0}"
    folder.mkdir(parents=True, exist_ok=True)
    sets = device_sets(devices, size)
    assert sets, (size, devices)
    while True:
        for chosen in sets:
            taken: list[FileLock] = []
            try:
                for name in chosen:  # one lock a device: sweeps with sets of other sizes see them too
                    if (lock := acquire(folder / f"{name}.lock", wait=False)) is None:
                        break
                    taken.append(lock)
                else:
                    yield {VISIBLE: ",".join(chosen)}
                    return
            finally:
                for lock in taken:
                    lock.release()
        time.sleep(POLL_S)
