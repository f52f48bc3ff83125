"""Checkpoints, from which a killed run resumes with identical results, and the trained weights of a finished run."""

import errno
import hashlib
import io
import os
import pickle
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from pgolf.errors import DamagedFile
from pgolf.machine.files import read_regular, unwritten, write_whole
from pgolf.machine.ranks import Ranks
from pgolf.machine.typed import LARGEST, fits
from pgolf.records.record import STATE
from pgolf.training.runlog import RunLog

FOLDER = "checkpoint"
MAGIC = b"\x89pgolf checkpoint 1\r\n"
START = len(MAGIC) + hashlib.sha256().digest_size  # offset of the state in the file
LOG_BYTES = 2**16  # space that a checkpoint leaves to the log
SAVE, STOP = 1.0, 2.0  # what a rank wishes after a step
MAX_STATE_BYTES = 64 * 2**30
# Parts of the state of the loop, beside its trace.
PARTS = ("model", "optimizers", "averaging", "stale_gradients", "watch", "rng", "rng_cuda")
WEIGHTS, AVERAGED = f"{FOLDER}/weights.safetensors", f"{FOLDER}/averaged.safetensors"


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint file: a magic number, the SHA-256 of the rest, and the state as torch writes it.

    The hash detects damaged files, since torch does not verify the checksums of its archive.
    """
    content = io.BytesIO()
    torch.save(dict(state), content)
    return MAGIC + hashlib.sha256(content.getbuffer()).digest() + content.getvalue()


def read_state(folder: Path) -> dict[str, Any] | None:
    """The content of the checkpoint in a run folder, on the CPU; None if it is missing or damaged.

    No code in the file is executed: only tensors and plain values are read (weights_only), and no compressed records.
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
        return None  # an untrusted file with a valid hash; torch does not document its exceptions
    return state if is_state(state) else None


def is_state(state: Any) -> bool:
    """Whether the content of a checkpoint has all parts that a run needs to resume."""
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
    """Remove the checkpoint and the weights of a run."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def copied(value: Any) -> Any:
    """A copy of a state on the CPU, which the next step does not change. Tensors lie in dicts, lists and tuples."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return type(value)(map(copied, value)) if isinstance(value, list | tuple) else value


class Checkpoints:
    """Writes checkpoints for the loop: every `every_s` seconds, after the last step, and before the run is stopped.

    The state is copied, and a thread writes the copy while training goes on. The last checkpoint, and that before a
    stop, are waited for. So is the one before, if it is still being written when the next is due. Leaving the context
    waits, too, so that nothing is written afterwards.

    key: fields that must be unchanged for a run to resume (fingerprint, seed, code, data). asked: whether this process
    was asked to stop the run. every_s: None for no checkpoints. warnings: for the record. All ranks have the same
    state; only the first rank writes, and its clock decides when.
    """

    def __init__(
        self, key: Mapping[str, Any], log: RunLog, asked: Callable[[], bool], ranks: Ranks, *, every_s: float | None
    ):
        self.folder, self.key, self.log, self.asked, self.ranks = log.folder, dict(key), log, asked, ranks
        self.every_s, self.saved_at, self.warnings = every_s, time.monotonic(), list[str]()
        self.writer: threading.Thread | None = None
        self.error: BaseException | None = None
        self.state = read_state(self.folder)
        if self.state is not None and not log.reaches(self.state["offsets"]):
            self.state = None  # the logs are shorter than at the checkpoint
        log.rewind({} if self.state is None else self.state["offsets"])

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    @property
    def step(self) -> int | None:
        """The step from which the run resumes; None if it starts from the beginning."""
        return None if self.state is None else int(self.state["trace"]["steps"])

    def load(self) -> Mapping[str, Any] | None:
        """The state to resume from, or None. Its memory is released: a second call returns None."""
        state, self.state = self.state, None
        return state

    def after_step(self, state: Callable[[], dict[str, Any]], *, last: bool) -> None:
        """Save the state if it is time. Raises KeyboardInterrupt, on all ranks, if the run must stop."""
        is_time = self.every_s is not None and time.monotonic() - self.saved_at >= self.every_s
        # One number for all ranks, because `state` may be a matter of all of them.
        wish = self.ranks.max(STOP if self.asked() else SAVE if is_time and self.log.is_first else 0.0)
        if self.every_s is not None and (last or wish >= SAVE):
            content = state()
            if self.log.is_first:
                self.save(content)
                if last or wish == STOP:
                    self.wait()
        if wish == STOP and not last:
            raise KeyboardInterrupt

    def save(self, state: dict[str, Any]) -> None:
        """Start to write a checkpoint. If it cannot be written, for example to a full disk, the run continues with a
        warning, from the next call of `save` or `wait` on.
        """
        self.wait()
        content = {**copied(state), "key": self.key, "offsets": self.log.offsets()}
        self.saved_at = time.monotonic()
        self.writer = threading.Thread(target=self.write, args=(content,), name="checkpoint")
        self.writer.start()

    def write(self, content: dict[str, Any]) -> None:
        """What the thread does. `error` is what it raised."""
        try:
            (self.folder / FOLDER).mkdir(exist_ok=True)
            file = state_bytes(content)
            # Half a checkpoint would take the last space from the log, which the run writes meanwhile.
            if shutil.disk_usage(self.folder).free < len(file) + LOG_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / STATE))
            write_whole(self.folder / STATE, file)
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        """Wait until the checkpoint is written. An error of the file system becomes a warning; others are raised."""
        if self.writer is None:
            return
        self.writer.join()
        self.writer, error, self.error = None, self.error, None
        if isinstance(error, OSError):
            if not self.warnings:
                self.log.say(f"{unwritten(error, self.folder / STATE)}; the run continues without checkpoints")
                self.warnings.append(f"no checkpoint could be written: {error.strerror}")
        elif error is not None:
            raise error


def save_weights(folder: Path, name: str, weights: Mapping[str, Tensor]) -> None:
    """Write weights, by config path, as safetensors. name: of the file, relative to the folder. Raises OSError."""
    (folder / FOLDER).mkdir(exist_ok=True)
    write_whole(folder / name, safetensors_bytes({n: t.detach().cpu().contiguous() for n, t in weights.items()}))


def load_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights that `save_weights` wrote, by config path. Raises DamagedFile if the file is missing or damaged."""
    remedy = "Train that run again with launch.keep_weights=true"
    try:
        return load(read_regular(folder / name, MAX_STATE_BYTES))
    except OSError as error:
        raise DamagedFile(folder / name, f"cannot be read ({error.strerror})", remedy) from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFile(folder / name, f"is not a file of weights ({error})", remedy) from None
