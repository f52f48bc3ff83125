"""Stopping a training loop between two steps: the first SIGINT or SIGTERM asks, the second interrupts at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from pgolf.machine.interrupts import SIGNALS


class StopRequest:
    """Inside, the first signal sets `asked`, and the second raises KeyboardInterrupt.

    Has no effect outside the main thread, which alone can handle signals.
    """

    def __init__(self) -> None:
        self.asked = False
        self.old_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self.old_handlers = {number: signal.signal(number, self.ask) for number in SIGNALS}
        return self

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.old_handlers.items():
            signal.signal(number, handler)
