"""Overlapping windows: every target after the first window has a context of nearly a full window."""

from pgolf.errors import require
from pgolf.slots import Window


class Sliding:
    """The first window scores its seq_len targets. Each later one ends `stride` targets later and scores only those.

    The last window ends at the last target and scores the targets that remain, so that none is scored twice. stride:
    from 1 to seq_len. max_targets: score only this many targets, from the start; null scores all.
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
