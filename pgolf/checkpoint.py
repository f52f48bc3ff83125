"""The checkpoint of a run: a killed run goes on from it to the same numbers; a finished one leaves its trained weights there."""

import io
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from pgolf.errors import PgolfError
from pgolf.machine.files import unwritten, write_whole
from pgolf.parallel import Ranks
from pgolf.results import STATE
from pgolf.runlog import RunLog
from pgolf.signals import StopRequest

FOLDER = "checkpoint"
WEIGHTS, AVERAGED = f"{FOLDER}/weights.safetensors", f"{FOLDER}/averaged.safetensors"


def read_state(folder: Path, *, mapped: bool = False) -> dict[str, Any] | None:
    """What a run's checkpoint holds, on the CPU; None where there is none or it cannot be read. mapped: do not read the tensors yet."""
    try:
        state = torch.load(folder / STATE, map_location="cpu", mmap=mapped, weights_only=True)
    except Exception:  # not there, damaged, from another version of torch: the run begins anew
        return None
    return state if isinstance(state, dict) and "key" in state else None


def clear(folder: Path) -> None:
    """Remove a run's checkpoint and weights."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


class Checkpoints:
    """The loop's keeper: a checkpoint every `every_s` seconds, after the last step, and before a run stops because it was asked to.

    key: what a later process must find unchanged to go on (fingerprint, seed, code, data). every_s None: none at all. Ranks hold the same
    state; the first one writes.
    """

    def __init__(
        self,
        folder: Path,
        key: Mapping[str, Any],
        log: RunLog,
        ranks: Ranks,
        stop: StopRequest,
        device: torch.device,
        *,
        every_s: float | None,
    ):
        self.folder, self.key, self.log, self.ranks, self.stop, self.device = folder, dict(key), log, ranks, stop, device
        self.every_s, self.saved_at, self.warnings = every_s, time.monotonic(), list[str]()
        self.state = read_state(folder)
        log.rewind({} if self.state is None else self.state["offsets"])

    @property
    def step(self) -> int | None:
        """Where the run will go on; None where it begins."""
        return None if self.state is None else int(self.state["trace"]["steps"])

    def load(self) -> Mapping[str, Any] | None:
        state, self.state = self.state, None
        return state

    def after_step(self, state: Callable[[], dict[str, Any]], *, last: bool) -> None:
        """Raises KeyboardInterrupt where the run was asked to stop, on all ranks at once."""
        asked = self.stop.asked if self.ranks.world == 1 else self.ranks.any(self.stop.asked, self.device)
        due = self.every_s is not None and (last or asked or time.monotonic() - self.saved_at >= self.every_s)
        if due and self.ranks.is_first:
            self.save(state())
        if asked and not last:
            raise KeyboardInterrupt

    def save(self, state: dict[str, Any]) -> None:
        """A disk that is full costs the checkpoint, not the run."""
        whole = {**state, "key": self.key, "offsets": self.log.offsets()}
        try:
            content = io.BytesIO()  # in memory: torch's own writer hides why a disk refused
            torch.save(whole, content)
            (self.folder / FOLDER).mkdir(exist_ok=True)
            write_whole(self.folder / STATE, content.getvalue())
        except OSError as error:
            if not self.warnings:
                self.log.say(f"{unwritten(error, self.folder / STATE)}; the run goes on without checkpoints")
                self.warnings.append(f"no checkpoint could be written: {error.strerror}")
        self.saved_at = time.monotonic()


def save_weights(folder: Path, name: str, weights: Mapping[str, Tensor]) -> None:
    """Trained weights by config path, as safetensors. Raises OSError."""
    (folder / FOLDER).mkdir(exist_ok=True)
    write_whole(folder / name, safetensors_bytes({n: t.detach().cpu().contiguous() for n, t in weights.items()}))


def load_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """Raises PgolfError where they are missing or damaged."""
    try:
        return load_file(folder / name)
    except Exception as error:  # safetensors raises its own kinds
        raise PgolfError(f"{folder / name}: cannot be read ({error}). Train that run again with launch.keep_weights=true") from None
