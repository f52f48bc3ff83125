"""Jobs reserve a machine's GPUs: one set per job, and no device twice. The tests assign names and need no GPU."""

import threading
import time
from pathlib import Path

import pytest

from pgolf.config.schema import Config, LaunchConfig
from pgolf.machine.gpus import device_sets, pinned, visible_devices


@pytest.mark.parametrize(
    ("devices", "size", "sets"),
    [
        (["0", "1", "2", "3"], 1, [("0",), ("1",), ("2",), ("3",)]),
        (["0", "1", "2", "3"], 2, [("0", "1"), ("2", "3")]),
        (["4", "6", "7"], 2, [("4", "6")]),
        (["0"], 2, []),
    ],
)
def test_sets_are_disjoint(devices: list[str], size: int, sets: list[tuple[str, ...]]) -> None:
    assert device_sets(devices, size) == sets


def test_devices_are_those_that_the_scheduler_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-abc")
    assert visible_devices() == ["5", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_devices() == []


def test_a_cpu_job_takes_none(tmp_path: Path) -> None:
    launch = LaunchConfig(gpus_per_job="2", nproc=2)
    assert Config(device="cpu", launch=launch).gpus_per_run == 0
    assert Config(device="cuda", launch=launch).gpus_per_run == 2
    with pinned(0, ["0"], tmp_path) as environment:
        assert environment == {}
    assert list(tmp_path.iterdir()) == []


def test_jobs_at_once_never_share_a_device(tmp_path: Path) -> None:
    busy: set[str] = set()
    seen: list[str] = []
    guard, clashes = threading.Lock(), []

    def job(size: int) -> None:
        with pinned(size, ["0", "1", "2", "3"], tmp_path) as environment:
            mine = set(environment["CUDA_VISIBLE_DEVICES"].split(","))
            assert len(mine) == size
            with guard:
                clashes.extend(mine & busy)
                busy.update(mine)
                seen.extend(mine)
            time.sleep(0.05)
            with guard:
                busy.difference_update(mine)

    jobs = [threading.Thread(target=job, args=(size,)) for size in (1, 2, 1, 2, 1, 1)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join(timeout=60)
    assert clashes == []
    assert len(seen) == 8
    assert len(set(seen)) >= 2


def test_a_job_that_fails_gives_its_devices_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), pinned(2, ["0", "1"], tmp_path):
        raise RuntimeError
    with pinned(2, ["0", "1"], tmp_path) as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
