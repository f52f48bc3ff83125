"""Worker processes: started from a run folder, stopped gently, and never left behind by a supervisor that dies."""

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
from typing import IO

PARENT = "PGOLF_PARENT"  # process id of whoever started this process and must outlive it
PR_SET_PDEATHSIG = 1
GRACE_S = 30.0  # that a stopped worker has to save its state and write its record

Process = subprocess.Popen[bytes]


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that ends. Nothing happens where $PGOLF_PARENT names
    none.

    On Linux the kernel sends SIGKILL (man 2 prctl, PR_SET_PDEATHSIG); elsewhere a thread looks every second.
    """
    parent = int(os.environ.get(PARENT, "0"))
    if parent in (0, os.getpid()):
        return
    os.environ[PARENT] = str(os.getpid())  # for what this process starts
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
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
    """A worker on a run folder, torchrun's ranks below it for nproc > 1, in a process group of its own: a Ctrl-C
    reaches it by `wait`.
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
    """The exit code. An interrupt stops the worker first: it may save its state; a second one kills it."""
    try:
        return worker.wait()
    except BaseException:
        try:
            worker.send_signal(signal.SIGINT)
            worker.wait(GRACE_S)
        except BaseException:  # too slow, or asked again
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        raise
