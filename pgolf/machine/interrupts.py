"""SIGINT and SIGTERM: KeyboardInterrupt while a command works, an immediate exit while it only starts or ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130  # exit code, as a shell reports Ctrl-C


def is_command() -> bool:
    """Whether this process was started as `python -m pgolf...` or `pgolf ...`. Valid while the package is imported."""
    name = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    return name in ("-m", "pgolf")  # Python sets argv[0] to -m while it looks for the module


def leave_when_interrupted() -> None:
    """End this process at once and without a traceback on SIGINT and SIGTERM.

    For the time during which there is nothing to save: the imports, and the end of a command.
    """
    for number in SIGNALS:
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise KeyboardInterrupt. Has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old_handlers = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
