"""CPU and memory limits, read from artificial trees of files and under a real affinity."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgolf.machine.limits import (
    AFFINITY,
    OPENMP,
    QUOTA,
    auto_threads,
    cgroup_memory_bytes,
    cores,
    cpu_limit,
    memory_limit,
    quota_cores,
)

V2 = "30 20 0:26 {top} {at} rw - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "31 20 0:27 {top} {at}/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "32 20 0:28 {top} {at}/memory rw,relatime - cgroup cgroup rw,memory"
AT = "/sys/fs/cgroup"


def tree(root: Path, groups: str, mounts: str, **files: str) -> Path:
    """A file system with /proc/self/cgroup, /proc/self/mountinfo and files below /sys/fs/cgroup, by path."""
    files = {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": mounts,
        **{f"{AT[1:]}/{name}": text for name, text in files.items()},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        ("0::/a/b", V2.format(top="/", at=AT), {"a/b/cpu.max": "150000 100000"}, 1.5),
        (
            "0::/a/b",
            V2.format(top="/", at=AT),
            {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000", "a/x/cpu.max": "1 100000"},
            0.5,
        ),
        ("0::/a/b", V2.format(top="/", at=AT), {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3.0),
        ("0::/", V2.format(top="/", at=AT), {"cpu.max": "200000 100000"}, 2.0),
        (
            "0::/docker/x/a",
            V2.format(top="/docker/x", at=AT),
            {"a/cpu.max": "max 100000", "cpu.max": "70000 100000"},
            0.7,
        ),
        ("0::/../elsewhere", V2.format(top="/", at=AT), {"cpu.max": "100000 100000"}, 1.0),
        ("0::/a", V2.format(top="/", at=f"{AT}/with\\040blank"), {"with blank/a/cpu.max": "100000 50000"}, 2.0),
        ("0::/a/b", V2.format(top="/", at=AT), {"a/b/cpu.max": "max 100000"}, None),
        ("0::/a/b", V2.format(top="/", at=AT), {"a/b/cpu.max": "nonsense"}, None),
        ("0::/a/b", V2.format(top="/", at=AT), {}, None),
        (
            "4:cpu,cpuacct:/s/job\n0::/",
            V1_CPU.format(top="/", at=AT),
            {"cpu,cpuacct/s/job/cpu.cfs_quota_us": "-1", "cpu,cpuacct/s/job/cpu.cfs_period_us": "100000"},
            None,
        ),
        (
            "4:cpu,cpuacct:/s/job\n0::/",
            f"{V1_CPU.format(top='/', at=AT)}\n{V2.format(top='/', at=f'{AT}/unified')}",
            {"cpu,cpuacct/s/cpu.cfs_quota_us": "120000", "cpu,cpuacct/s/cpu.cfs_period_us": "50000"},
            2.4,
        ),
        ("nonsense", "more nonsense\n1 2 - cgroup2", {}, None),
    ],
)
def test_cpu_quota(groups: str, mounts: str, files: dict[str, str], expected: float | None, tmp_path: Path) -> None:
    assert quota_cores(tree(tmp_path, groups, mounts, **files)) == expected


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        (
            "0::/a/b",
            V2.format(top="/", at=AT),
            {"a/b/memory.max": "max", "a/memory.max": "4294967296", "memory.max": "max"},
            2**32,
        ),
        ("0::/a", V2.format(top="/", at=AT), {"a/memory.max": "max"}, None),
        (
            "7:memory:/j",
            V1_MEMORY.format(top="/", at=AT),
            {"memory/j/memory.limit_in_bytes": "5", "memory/memory.limit_in_bytes": "9"},
            5,
        ),
        ("7:memory:/j", V2.format(top="/", at=AT), {"j/memory.max": "5"}, None),
    ],
)
def test_memory(groups: str, mounts: str, files: dict[str, str], expected: int | None, tmp_path: Path) -> None:
    assert cgroup_memory_bytes(tree(tmp_path, groups, mounts, **files)) == expected


@pytest.mark.skipif(cores() < 2, reason="needs two CPU cores")
@pytest.mark.parametrize(("quota", "expected"), [("1", 1), ("150000", 1), ("max", cores()), ("100000000", cores())])
def test_a_fraction_of_a_core_is_rounded_down_to_one_at_least(quota: str, expected: int, tmp_path: Path) -> None:
    limit = cpu_limit(tree(tmp_path, "0::/a", V2.format(top="/", at=AT), **{"a/cpu.max": f"{quota} 100000"}))
    assert (limit.amount, limit.decided_by) == (expected, QUOTA if expected == 1 else AFFINITY)


@pytest.mark.skipif(cores() < 2, reason="needs two CPU cores")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", (1, OPENMP)),
        ("1,4", (1, OPENMP)),
        ("9999", (cores(), AFFINITY)),
        ("", (cores(), AFFINITY)),
        ("0", (cores(), AFFINITY)),
        ("x", None),
    ],
)
def test_openmp_asks_for_fewer(value: str, expected: tuple[int, str] | None, tmp_path: Path) -> None:
    limit = auto_threads(tmp_path, {"OMP_NUM_THREADS": value})
    assert (limit.amount, limit.decided_by) == (expected or (cores(), AFFINITY))


def test_the_smaller_memory_counts(tmp_path: Path) -> None:
    computer = memory_limit(tmp_path)
    root = tree(tmp_path, "0::/a", V2.format(top="/", at=AT), **{"a/memory.max": "1000000"})
    limit = memory_limit(root)
    assert computer is not None
    assert limit is not None
    assert (limit.amount, limit.decided_by) == (1_000_000, "cgroup memory limit")
    assert computer.amount > limit.amount


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_a_process_on_one_core_trains_with_one_thread() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pgolf.machine.limits import auto_threads; print(auto_threads(environ={}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "Limit(amount=1, decided_by='CPU affinity')\n"
