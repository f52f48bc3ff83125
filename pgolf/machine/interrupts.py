"""Signals that ask a process to stop: what they do while it works, and while it only starts or ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130  # as a shell has it for Ctrl-C


def is_command() -> bool:
    """Whether this process was started as `python -m pgolf...` or `pgolf ...`, asked while the package is imported."""
    name = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    return name in ("-m", "pgolf")  # Python's own mark while it looks for the module


def leave_when_interrupted() -> None:
    """End this process at once and without a traceback on SIGINT and SIGTERM: for imports and the end, when there is
    nothing to save.
    """
    for number in SIGNALS:
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise KeyboardInterrupt; nothing changes in another thread than the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
