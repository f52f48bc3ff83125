"""Overlapping windows: every target after the first window has a context of nearly a full window."""

from pgolf.errors import require
from pgolf.eval.windows import check_max_targets, first_suffix
from pgolf.slots import Window


class Sliding:
    """The first window scores its seq_len targets. Each later one ends `stride` targets later and scores only those.

    The last window ends at the last target and scores the targets that remain, so that none is scored twice. stride:
    from 1 to seq_len. max_targets: score only this many targets, from the start; null scores all.
    """

    def __init__(self, seq_len: int, *, stride: int, max_targets: int | None):
        require(1 <= stride <= seq_len, "stride", stride, f"choose from 1 to the window length, {seq_len}")
        check_max_targets(max_targets)
        self.seq_len, self.stride, self.max_targets = seq_len, stride, max_targets
        self.name = f"sliding{seq_len}-stride{stride}" + first_suffix(max_targets)

    def windows(self, targets: int) -> list[Window]:
        targets = min(targets, self.max_targets or targets)
        windows = [Window(0, 0, min(self.seq_len, targets))]
        while (scored := windows[-1].stop) < targets:
            stop = min(scored + self.stride, targets)
            windows.append(Window(stop - self.seq_len, scored, stop))
        return windows
