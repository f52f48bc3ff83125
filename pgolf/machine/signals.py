"""Stopping between two steps: the first SIGINT or SIGTERM asks, the second interrupts at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from pgolf.machine.interrupts import SIGNALS


class StopRequest:
    """While entered, the first signal sets `asked`. In another thread than the main one signals cannot be caught:
    nothing changes there.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.ask) for number in SIGNALS}
        return self

    def ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
