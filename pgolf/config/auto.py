"""A configuration on this machine: the values that `auto` stands for, and the resources that are missing."""

import os
import shutil
import sys
from dataclasses import replace

import torch

from pgolf.config.binding import locate
from pgolf.config.build import build_data, build_tracker
from pgolf.config.memory_floor import memory_floor_bytes
from pgolf.config.schema import Config, ModelConfig, slot_paths
from pgolf.errors import UnavailableHere, UnavailableOption
from pgolf.machine.limits import auto_threads, cores, memory_bytes
from pgolf.trackers.limits import is_installed


def device_memory_bytes(device: str) -> int | None:
    """Bytes of memory of the first CUDA device, or of this computer. None if the system does not say."""
    if device == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return memory_bytes()


def cxx_compiler() -> str | None:
    """The path of the C++ compiler that torch's compiler calls for a CPU; None if there is none."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def best_device(ranks: int) -> str:
    """The device that `auto` stands for: cuda where torch can use one, else mps for one rank, else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if ranks == 1 and torch.backends.mps.is_available() else "cpu"


def usable_device(name: str) -> str:
    """A device of another machine's run, or the CPU where this machine has no such device."""
    lacks_it = (name == "cuda" and not torch.cuda.is_available()) or (
        name == "mps" and not torch.backends.mps.is_available()
    )
    return "cpu" if lacks_it else name


def decide_auto(config: Config, *, in_sweep: bool) -> Config:
    """A copy of a configuration in which every `auto` is replaced by a value for this machine.

    device: cuda if available, else mps for a run of one rank. threads: one per run of a sweep; otherwise the available
    cores, shared by the ranks. Available cores are limited by CPU affinity, the cgroup quota and OMP_NUM_THREADS.
    compile: on for CUDA, off for a CPU; pgolf.train decides it before, for all runs of a command
    (`pgolf.sweep.compilation`). precision: bf16 on CUDA devices that support it natively, otherwise fp32. gpus_per_job:
    one per rank.
    """
    train, launch, device = config.train, config.launch, config.device
    if device == "auto":
        device = best_device(launch.nproc)
    threads, compiled, precision, gpus = train.threads, train.compile, train.precision, launch.gpus_per_job
    if threads == "auto":
        threads = str(1 if in_sweep else max(1, auto_threads().amount // launch.nproc))
    if compiled == "auto":
        compiled = "on" if device == "cuda" else "off"
    if precision == "auto":
        native = device == "cuda" and (not torch.cuda.is_available() or torch.cuda.get_device_capability() >= (8, 0))
        precision = "bf16" if native else "fp32"
    if gpus == "auto":
        gpus = str(launch.nproc if device == "cuda" else 0)
    train = train.changed(threads=str(int(threads)), compile=compiled, precision=precision)
    return replace(config, device=device, train=train, launch=replace(launch, gpus_per_job=gpus))


def memory_shortage(config: Config) -> list[str]:
    """One problem if weights, gradients and optimizer states alone exceed the memory of this machine."""
    available, per_process = device_memory_bytes(config.device), memory_floor_bytes(config)
    needed = per_process * (1 if config.device == "cuda" else config.launch.nproc)
    if available is None or per_process == 0 or needed <= available:
        return []
    sizes = f"width {config.model.width}, {config.model.layers} layers"
    return [
        f"model: weights, gradients and optimizer states take at least {needed / 1e9:,.1f} GB, this machine has "
        f"{available / 1e9:,.1f} GB ({sizes}). Choose a smaller model"
    ]


def machine_shortages(config: Config, *, ranks_option: str = "launch.nproc") -> list[str]:
    """Problems that prevent any run of a configuration on this machine: missing devices, cores for ranks, or memory.

    ranks_option: the option that gives the number of ranks, for the messages.
    """
    device, nproc = config.device, config.launch.nproc
    problems, cuda = [], torch.cuda.is_available()
    if device == "cuda" and not cuda:
        problems.append("device: this machine has no CUDA device that torch can use (cuda). Choose device=cpu")
    elif device == "mps" and not torch.backends.mps.is_available():
        problems.append("device: this machine has no Apple GPU that torch can use (mps). Choose device=cpu")
    elif device == "mps" and nproc > 1:
        problems.append(f"{ranks_option}: an Apple GPU runs one rank ({nproc}). Choose 1, or device=cpu")
    elif device in ("cpu", "auto", "cuda"):
        on_cuda = device == "cuda" or (device == "auto" and cuda)
        available, unit = (torch.cuda.device_count(), "CUDA devices") if on_cuda else (cores(), "CPU cores")
        if nproc > available:
            problems.append(
                f"{ranks_option}: this machine has {available} {unit} ({nproc}). Choose from 1 to {available}"
            )
        gpus = config.launch.gpus_per_job
        if on_cuda and gpus.isdecimal() and int(gpus) > available:
            problems.append(
                f"launch.gpus_per_job: this machine has {available} CUDA devices ({gpus}). "
                f"Choose from {max(nproc, 1)} to {available}"
            )
    chosen = best_device(nproc) if device == "auto" else device
    return [*problems, *variant_shortages(config.model, chosen), *memory_shortage(config)]


def variant_shortages(model: ModelConfig, device: str) -> list[str]:
    """What this machine lacks for the variants of a valid model, by their own `check_machine`, if they have one."""
    problems = []
    for path in slot_paths():
        section, _, slot = path.partition(".")
        if section != "model":
            continue
        node = getattr(model, slot)
        check = getattr(locate(path, node["_target_"]), "check_machine", None)
        try:
            if check is not None:
                check(node, device)
        except UnavailableOption as error:
            problems.append(f"{path}.{error.key}: cannot be used ({error.value}); {error.remedy}")
    return problems


def tracker_shortages(config: Config) -> list[str]:
    """One problem if the library of the tracker is not installed."""
    tracker = build_tracker(config)
    if tracker is None or tracker.package is None or is_installed(tracker.package):
        return []
    install = f"'pgolf[{tracker.extra}]'" if tracker.extra else tracker.package
    return [f"tracker: is not installed ({tracker.package}). Run pip install {install}, or choose tracker=none"]


def shortages(config: Config) -> list[str]:
    """Problems of a valid configuration on this machine: `machine_shortages`, cores for its threads, the library of its
    tracker, corpus files.
    """
    problems, threads = [*machine_shortages(config), *tracker_shortages(config)], config.train.threads
    if config.train.compile == "on" and config.device != "cuda" and cxx_compiler() is None:
        problems.append("train.compile: on needs a C++ compiler, such as g++ (on). Install one, or choose off or auto")
    if threads.isdecimal() and int(threads) > cores():
        problems.append(f"train.threads: must be auto or from 1 to {cores()} ({threads})")
    try:
        build_data(config)
    except UnavailableHere as error:
        problems += error.problems
    except Exception:  # `checks` builds the same object and reports the error
        pass
    return problems
