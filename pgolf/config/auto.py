"""This machine against a configuration: what `auto` means here, and what is lacking."""

from collections.abc import Mapping
from typing import Any

import torch

from pgolf.config.build import build_data
from pgolf.config.memory_floor import memory_floor_bytes
from pgolf.errors import UnavailableHere
from pgolf.machine.limits import auto_threads, cores, memory_bytes


def device_memory_bytes(device: str) -> int | None:
    """Memory of the first CUDA device, or of this computer; None where the system does not tell."""
    if device == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return memory_bytes()


def decide_auto(config: dict[str, Any], *, in_sweep: bool) -> dict[str, Any]:
    """Every `auto` replaced by what the rule gives on this device: the stored configuration holds none.

    device: cuda where there is one. threads: one per job in a sweep, else the cores that
    affinity, cgroup quota and OMP_NUM_THREADS leave, shared by the ranks. compile: on for CUDA.
    precision: bf16 on CUDA devices that compute in it natively, else fp32. gpus_per_job: one a rank.
    """
    train, device = dict(config["train"]), config["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if train["threads"] == "auto":
        train["threads"] = 1 if in_sweep else max(1, auto_threads().amount // config["launch"]["nproc"])
    train["threads"] = int(train["threads"])
    if train["compile"] == "auto":
        train["compile"] = "on" if device == "cuda" else "off"
    if train["precision"] == "auto":
        native = device == "cuda" and (not torch.cuda.is_available() or torch.cuda.get_device_capability() >= (8, 0))
        train["precision"] = "bf16" if native else "fp32"
    launch = dict(config["launch"])
    if launch["gpus_per_job"] == "auto":
        launch["gpus_per_job"] = launch["nproc"] if device == "cuda" else 0
    return {**config, "device": device, "train": train, "launch": launch}


def too_large(config: Mapping[str, Any]) -> list[str]:
    """A line where weights, gradients and optimizer states alone are more than the memory of this machine."""
    device, have = config["device"], device_memory_bytes(config["device"])
    each = memory_floor_bytes(config)
    need = each * (1 if device == "cuda" else config["launch"]["nproc"])
    if have is None or each == 0 or need <= have:
        return []
    sizes = f"width {config['model']['width']}, {config['model']['layers']} layers"
    return [
        f"model: weights, gradients and optimizer states take at least {need / 1e9:,.1f} GB, {have / 1e9:,.1f} GB are "
        f"there ({sizes})."
        " Choose a smaller model"
    ]


def machine_lacks(config: Mapping[str, Any]) -> list[str]:
    """What keeps this machine from running a configuration at all: devices, cores for its ranks, memory."""
    device, nproc = config["device"], config["launch"]["nproc"]
    found, cuda = [], torch.cuda.is_available()
    if device == "cuda" and not cuda:
        found.append("device: this machine has no CUDA device that torch can use (cuda). Choose device=cpu")
    elif device in ("cpu", "auto", "cuda"):
        on_cuda = device == "cuda" or (device == "auto" and cuda)
        have, what = (torch.cuda.device_count(), "CUDA devices") if on_cuda else (cores(), "CPU cores")
        if nproc > have:
            found.append(f"launch.nproc: this machine has {have} {what} ({nproc}). Choose from 1 to {have}")
        gpus = config["launch"]["gpus_per_job"]
        if on_cuda and str(gpus).isdecimal() and int(gpus) > have:
            found.append(
                f"launch.gpus_per_job: this machine has {have} CUDA devices ({gpus}). Choose from {max(nproc, 1)} to "
                f"{have}"
            )
    return [*found, *too_large(config)]


def lacks_of(config: Mapping[str, Any]) -> list[str]:
    """What this machine lacks for a configuration that another could run: `machine_lacks`, cores for its threads, the
    files of a corpus.
    """
    found, threads = machine_lacks(config), config["train"]["threads"]
    if str(threads).isdecimal() and int(threads) > cores():
        found.append(f"train.threads: must be auto or from 1 to {cores()} ({threads})")
    try:
        build_data(config)
    except UnavailableHere as error:
        found += error.problems
    except Exception:  # a problem, and told as one
        pass
    return found
