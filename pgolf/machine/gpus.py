"""Exclusive GPUs for jobs: the jobs of all sweeps on one machine reserve them by locks."""

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
    """Names of the CUDA devices that this process may use, in the notation of CUDA_VISIBLE_DEVICES."""
    names = os.environ.get(VISIBLE)
    if names is not None:
        return [name.strip() for name in names.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def device_sets(devices: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Disjoint sets of `size` devices, as many as possible; the remaining devices are not used."""
    return [tuple(devices[first : first + size]) for first in range(0, len(devices) - size + 1, size)]


@contextmanager
def pinned(size: int, devices: Sequence[str], locks: Path | None = None) -> Iterator[dict[str, str]]:
    """Environment variables of a job with `size` exclusive devices; {} for 0. Waits until a set of devices is free.

    locks: a folder that all jobs of this machine share, by default below its temporary folder.
    """
    if not size:
        yield {}
        return
    folder = locks or Path(tempfile.gettempdir()) / f"pgolf-gpus-{os.getuid() if hasattr(os, 'getuid') else 0}"
    folder.mkdir(parents=True, exist_ok=True)
    sets = device_sets(devices, size)
    assert sets, (size, devices)
    while True:
        for names in sets:
            device_locks: list[FileLock] = []
            try:
                for name in names:  # one lock per device, so that sweeps with sets of other sizes respect it
                    if (lock := acquire(folder / f"{name}.lock", wait=False)) is None:
                        break
                    device_locks.append(lock)
                else:
                    yield {VISIBLE: ",".join(names)}
                    return
            finally:
                for lock in device_locks:
                    lock.release()
        time.sleep(POLL_S)
