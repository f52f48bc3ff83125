"""What every command does about errors, interrupts and a reader that goes away: one line, and an exit code that says which it was."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from types import FrameType

from pgolf.errors import PgolfError
from pgolf.machine.files import told

SIGNALS = (signal.SIGINT, signal.SIGTERM)
REFUSED = 2  # what a person can mend
INTERRUPTED = 130  # as a shell has it for Ctrl-C


def is_command() -> bool:
    """Whether this process was started as `python -m pgolf...` or `pgolf ...`, asked while the package is imported."""
    name = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    return name in ("-m", "pgolf")  # Python's own mark while it looks for the module


def leave_when_interrupted() -> None:
    """End this process at once and without a traceback on SIGINT and SIGTERM: for imports and the end, when there is nothing to save."""
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


def command(main: Callable[[], int]) -> Callable[[], int]:
    """A command's `main` that raises neither PgolfError, OSError nor KeyboardInterrupt.

    Exit codes beside its own: REFUSED, INTERRUPTED, and 1 when nobody reads its output any more.
    """

    @wraps(main)
    def run() -> int:
        try:
            with interruptible():
                return main()
        except PgolfError as error:
            print(error, file=sys.stderr)
            return REFUSED
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # what is still buffered has no reader either
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            print(told(error), file=sys.stderr)
            return REFUSED
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED

    return run
