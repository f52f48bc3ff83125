"""Reading what a run left."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
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


def write_study(conf: Path, name: str, study: str, arms: Mapping[str, str]) -> Path:
    """Write a study and its arms into a folder of config groups. arms: YAML of each beside its name."""
    file = conf / "study" / f"{name}.yaml"
    folder = conf / "arm" / name
    for parent in (file.parent, folder):
        parent.mkdir(parents=True)
    file.write_text(study)
    for arm, text in arms.items():
        (folder / f"{arm}.yaml").write_text(f"# @package _global_\nstudy:\n  arm: {arm}\n{text}\n")
    return file


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


class InterruptsAt:
    """A stream that interrupts this process, as Ctrl-C does, at the first line with a text."""

    def __init__(self, stream: Any, text: str) -> None:
        self.stream, self.text, self.done = stream, text, False

    def write(self, text: str) -> int:
        if self.text in text and not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)
        return int(self.stream.write(text))

    def flush(self) -> None:
        self.stream.flush()
