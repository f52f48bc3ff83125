"""Worker processes: started on a run folder, asked to stop before they are killed, and ended with their supervisor."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

PARENT = "PGOLF_PARENT"  # id of the process that started this one and must outlive it
PR_SET_PDEATHSIG = 1
GRACE_S = 30.0  # time that a stopped worker has to save its state and write its record


class Process(Protocol):
    """A process that was started: `subprocess.Popen`, or a fork."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


def die_with_parent() -> None:
    """End this process when the process in $PGOLF_PARENT ends, for whatever reason. Does nothing without a parent.

    On Linux the kernel sends SIGKILL (man 2 prctl, PR_SET_PDEATHSIG); elsewhere a thread checks every second.
    """
    parent = int(os.environ.get(PARENT, "0"))
    if parent in (0, os.getpid()):
        return
    os.environ[PARENT] = str(os.getpid())  # for the processes that this one starts
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def start_worker(
    folder: Path, nproc: int, environment: Mapping[str, str], *, quiet: bool, errors: IO[bytes]
) -> Process:
    """Start a worker on a run folder; for nproc > 1, torchrun's ranks below it. errors: receives its stderr.

    The worker has its own process group, so that Ctrl-C reaches it through `wait` only.
    """
    ranks = ["--ranks", str(nproc)] if nproc > 1 else []
    return subprocess.Popen(
        [sys.executable, "-m", "pgolf.sweep.worker", *ranks, str(folder)],
        env={**os.environ, **environment, PARENT: str(os.getpid())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=errors,
        start_new_session=True,
    )


def wait(worker: Process) -> int:
    """The worker's exit code. An interrupt asks the worker to stop and save its state; a second one kills it."""
    try:
        return worker.wait()
    except BaseException:
        try:
            worker.send_signal(signal.SIGINT)
            worker.wait(GRACE_S)
        except BaseException:  # too slow, or interrupted again
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        raise
