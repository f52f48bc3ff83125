"""The checkpoint of a run: a killed run goes on from it to the same numbers; a finished one leaves its trained weights
there.
"""

import hashlib
import io
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from pgolf.errors import DamagedFile
from pgolf.machine.files import read_regular, unwritten, write_whole
from pgolf.machine.typed import LARGEST, fits
from pgolf.records.record import STATE
from pgolf.training.runlog import RunLog

FOLDER = "checkpoint"
MAGIC = b"\x89pgolf checkpoint 1\r\n"
START = len(MAGIC) + hashlib.sha256().digest_size
MAX_STATE_BYTES = 64 * 2**30
# Of the loop's state, beside its trace.
PARTS = ("model", "optimizers", "averaging", "stale_gradients", "watch", "rng", "rng_cuda")
WEIGHTS, AVERAGED = f"{FOLDER}/weights.safetensors", f"{FOLDER}/averaged.safetensors"


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """A checkpoint file: magic, SHA-256 of the rest, and the state as torch writes it. The hash tells a damaged file
    from a whole one: torch's reader does not check its records."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    return MAGIC + hashlib.sha256(content.getbuffer()).digest() + content.getvalue()


def read_state(folder: Path) -> dict[str, Any] | None:
    """What a run's checkpoint holds, on the CPU; None where there is none, or one that is damaged: the run then begins
    anew.

    Nothing in the file is run: torch's reader takes tensors and plain values alone (weights_only), and no record that
    would grow.
    """
    try:
        content = read_regular(folder / STATE, MAX_STATE_BYTES)
    except (OSError, ValueError):
        return None
    digest, payload = content[len(MAGIC) : START], memoryview(content)[START:]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                return None
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ):
        return None  # a whole file of somebody else's making: torch documents no error type of its own
    return state if is_state(state) else None


def is_state(state: Any) -> bool:
    """Whether a checkpoint's content has the parts that going on needs."""
    if not isinstance(state, dict) or not all(
        isinstance(state.get(part), dict) for part in ("key", "trace", "offsets")
    ):
        return False
    key, steps, offsets = state["key"], state["trace"].get("steps"), state["offsets"].values()
    texts = (key.get(name) for name in ("fingerprint", "versions.torch", "data_sha"))
    return (
        set(PARTS) <= set(state)
        and all(isinstance(text, str) for text in texts)
        and fits(key.get("seed"), int)
        and fits(key.get("code_files"), list[str])
        and all(fits(number, int) and 0 <= number <= LARGEST for number in (steps, *offsets))
    )


def clear(folder: Path) -> None:
    """Remove a run's checkpoint and weights."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


class Checkpoints:
    """The loop's keeper: a checkpoint every `every_s` seconds, after the last step, and before a run that was asked to
    stop.

    key: what a later process must find unchanged to resume (fingerprint, seed, code, data). asked: whether the run was
    asked to stop, the same answer on all ranks. every_s: None for no checkpoints. Ranks hold the same state; the first
    one writes.
    """

    def __init__(self, key: Mapping[str, Any], log: RunLog, asked: Callable[[], bool], *, every_s: float | None):
        self.folder, self.key, self.log, self.asked = log.folder, dict(key), log, asked
        self.every_s, self.saved_at, self.warnings = every_s, time.monotonic(), list[str]()
        self.state = read_state(self.folder)
        if self.state is not None and not log.reaches(self.state["offsets"]):
            self.state = None  # what it counts on is gone
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
        asked = self.asked()
        due = self.every_s is not None and (last or asked or time.monotonic() - self.saved_at >= self.every_s)
        if due and self.log.is_first:
            self.save(state())
        if asked and not last:
            raise KeyboardInterrupt

    def save(self, state: dict[str, Any]) -> None:
        """A disk that is full costs the checkpoint, not the run."""
        whole = {**state, "key": self.key, "offsets": self.log.offsets()}
        try:
            (self.folder / FOLDER).mkdir(exist_ok=True)
            write_whole(self.folder / STATE, state_bytes(whole))
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
    """Raises DamagedFile where they are missing or damaged."""
    remedy = "Train that run again with launch.keep_weights=true"
    try:
        return load(read_regular(folder / name, MAX_STATE_BYTES))
    except OSError as error:
        raise DamagedFile(folder / name, f"cannot be read ({error.strerror})", remedy) from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFile(folder / name, f"is not a file of weights ({error})", remedy) from None
