"""The device that `auto` stands for, and Apple's GPUs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pgolf.config.auto import best_device, decide_auto, machine_shortages, usable_device
from tiny import composed_config

HAS_MPS = torch.backends.mps.is_available()


@pytest.mark.parametrize(
    ("cuda", "mps", "ranks", "device"),
    [(True, True, 1, "cuda"), (False, True, 1, "mps"), (False, True, 2, "cpu"), (False, False, 1, "cpu")],
)
def test_auto_takes_the_best_device(
    cuda: bool, mps: bool, ranks: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device(ranks) == device
    if device == "mps":
        config = decide_auto(composed_config(), in_sweep=False)
        decided = (config.device, config.train.precision, config.train.compile, config.gpus_per_run)
        assert decided == ("mps", "fp32", "off", 0)
        assert machine_shortages(config) == []
        (problem,) = machine_shortages(composed_config("device=mps", "launch.nproc=2"))
        assert problem == "launch.nproc: an Apple GPU runs one rank (2). Choose 1, or device=cpu"
    assert usable_device("mps") == ("mps" if mps else "cpu")


@pytest.mark.skipif(HAS_MPS, reason="this machine has an Apple GPU")
def test_a_missing_device_is_named() -> None:
    (problem,) = machine_shortages(composed_config("device=mps"))
    assert problem == "device: this machine has no Apple GPU that torch can use (mps). Choose device=cpu"


@pytest.mark.skipif(not HAS_MPS, reason="no Apple GPU")
def test_a_run_on_mps_scores_as_on_a_cpu(tiny: list[str], train_here: Callable[[list[str]], int]) -> None:
    scores = {}
    for device in ("cpu", "mps"):
        assert train_here([*tiny, "train.steps=10", f"device={device}", f"study.name={device}"]) == 0
        (path,) = Path("multirun", device).rglob("result.json")
        scores[device] = json.loads(path.read_text(encoding="utf-8"))["val_bpb"]
    assert scores["mps"] == pytest.approx(scores["cpu"], abs=0.02)
