"""CPU cores and memory that this process may use, under the limits of affinity, cgroups and the computer itself.

Functions take the root of the file system, so that a test can describe another computer by a tree of files. Soft limits
(cpu.weight, memory.high) only slow a process down and are not read.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
AFFINITY, QUOTA, OPENMP, COMPUTER, CGROUP = (
    "CPU affinity",
    "cgroup CPU quota",
    "OMP_NUM_THREADS",
    "the computer",
    "cgroup memory limit",
)


@dataclass(frozen=True)
class Limit:
    """An amount (cores, or bytes of memory), and the name of the limit that decided it."""

    amount: int
    decided_by: str


def cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_limit(root: Path = ROOT) -> Limit:
    """The smaller of CPU affinity and cgroup quota, in cores.

    A fractional quota is rounded down, to at least 1. Threads that together use more than the quota are all stopped
    until the next period begins, even in the middle of a step, where they wait for each other.
    """
    affinity, quota = Limit(cores(), AFFINITY), quota_cores(root)
    if quota is not None and max(1, math.floor(quota)) < affinity.amount:
        return Limit(max(1, math.floor(quota)), QUOTA)
    return affinity


def auto_threads(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Limit:
    """Default number of CPU threads of a run: `cpu_limit`, or the first number of OMP_NUM_THREADS if it is smaller."""
    limit, match = cpu_limit(root), re.match(r"\s*([1-9]\d{0,8})\s*(,|$)", environ.get("OMP_NUM_THREADS", ""))
    return Limit(int(match[1]), OPENMP) if match and int(match[1]) < limit.amount else limit


def memory_limit(root: Path = ROOT) -> Limit | None:
    """The smaller of this computer's memory and the cgroup limit, in bytes; None if the system reports neither."""
    limits = []
    with suppress(AttributeError, OSError, ValueError):
        limits.append(Limit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), COMPUTER))
    if (cgroup_bytes := cgroup_memory_bytes(root)) is not None:
        limits.append(Limit(cgroup_bytes, CGROUP))
    return min(limits, key=lambda limit: limit.amount, default=None)


def memory_bytes(root: Path = ROOT) -> int | None:
    """The amount of `memory_limit`, in bytes."""
    limit = memory_limit(root)
    return None if limit is None else limit.amount


def quota_cores(root: Path = ROOT) -> float | None:
    """The CPU quota of this process's control groups, in cores; None without a quota."""
    quotas = []
    for version, folder in _group_folders(root, "cpu"):
        quota, period = (
            _words(folder / "cpu.max", 2)
            if version == 2
            else (_word(folder, "cfs_quota_us"), _word(folder, "cfs_period_us"))
        )
        if quota.isdecimal() and period.isdecimal() and int(period):  # `max` or -1 means no quota
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def cgroup_memory_bytes(root: Path = ROOT) -> int | None:
    """The memory limit of this process's control groups, in bytes; None without a limit."""
    limits = []
    for version, folder in _group_folders(root, "memory"):
        (limit,) = _words(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"), 1)
        if limit.isdecimal():
            limits.append(int(limit))
    return min(limits, default=None)


def _group_folders(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """(cgroup version, folder) of this process's control group and of every group above it that is visible here."""
    paths = dict(_memberships(root))
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options, *_) = before.split(), [*after.split(), "", "", ""]
        is_v1 = kind == "cgroup" and controller in options.split(",")
        own = paths.get(controller if is_v1 else "")
        if len(fields) < 5 or own is None or not (is_v1 or kind == "cgroup2"):
            continue
        top, mounted = PurePosixPath(_unescaped(fields[3])), root / _unescaped(fields[4]).lstrip("/")
        inside = own.relative_to(top).parts if own.is_relative_to(top) and ".." not in own.parts else ()
        for depth in range(len(inside), -1, -1):
            yield (1 if is_v1 else 2), mounted.joinpath(*inside[:depth])


def _memberships(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """(controller, path of this process's control group); the controller of version 2 is the empty text."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, has_path, path = rest.partition(":")
        if has_path:
            yield from ((controller, PurePosixPath(path)) for controller in controllers.split(","))


def _unescaped(text: str) -> str:
    """A path of mountinfo, in which blanks and backslashes are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _word(folder: Path, name: str) -> str:
    return _words(folder / f"cpu.{name}", 1)[0]


def _words(path: Path, count: int) -> list[str]:
    """The first `count` words of a small file; empty texts stand for words that are missing or cannot be read."""
    return [*" ".join(_lines(path)).split(), *[""] * count][:count]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
