"""Reading what a run left."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TINY = [  # overrides of a tiny run, which takes a second
    "model.width=32",
    "model.layers=2",
    "model.heads=2",
    "model.kv_heads=1",
    "train.steps=24",
    "train.seq_len=32",
    "train.batch_tokens=256",
    "train.log_every=4",
    "train.val_every=12",
    "train.threads=1",
    "eval.max_targets=3000",
]

Command = Callable[..., "subprocess.CompletedProcess[str]"]
CLOCKED = ("elapsed_s", "step_ms", "eval_s", "pack_s", "prepare_s")


def records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every run folder below, with its record."""
    for path in sorted(folder.rglob("result.json")):
        if not path.parent.name.startswith("earlier-"):
            yield path.parent, json.loads(path.read_text(encoding="utf-8"))


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Lines of a run's metrics, without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in lines:
        for key in CLOCKED:
            line.pop(key, None)
    return [line for line in lines if line["event"] == kind]
