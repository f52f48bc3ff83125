"""Overlapping windows: every target but the first seq_len sees nearly a full window."""

from pgolf.errors import require
from pgolf.slots import Window


class Sliding:
    """The first window scores all its seq_len targets; each later one ends `stride` further on and scores its last
    `stride`.

    The last window is moved forward to end at the last target and scores what is left, so that no target is scored
    twice.
    """

    def __init__(self, seq_len: int, *, stride: int, max_targets: int | None):
        require(1 <= stride <= seq_len, "stride", stride, f"choose from 1 to the window length, {seq_len}")
        require(
            max_targets is None or max_targets >= 1, "max_targets", max_targets, "choose 1 or more, or null for all"
        )
        self.seq_len, self.stride, self.max_targets = seq_len, stride, max_targets
        self.name = f"sliding{seq_len}-stride{stride}" + (f"-first{max_targets}" if max_targets else "")

    def windows(self, targets: int) -> list[Window]:
        targets = min(targets, self.max_targets or targets)
        windows = [Window(0, 0, min(self.seq_len, targets))]
        while (scored := windows[-1].stop) < targets:
            stop = min(scored + self.stride, targets)
            windows.append(Window(stop - self.seq_len, scored, stop))
        return windows
