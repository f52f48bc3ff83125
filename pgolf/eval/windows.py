"""Plans of evaluation windows, and the limit of scored targets, that more than one mode uses."""

from pgolf.errors import require
from pgolf.slots import Window


def check_max_targets(max_targets: int | None) -> None:
    """Raise OptionError unless the limit of scored targets is 1 or more, or None for all."""
    require(max_targets is None or max_targets >= 1, "max_targets", max_targets, "choose 1 or more, or null for all")


def first_suffix(max_targets: int | None) -> str:
    """The end of a mode's name that says how many targets it scores; empty for all."""
    return f"-first{max_targets}" if max_targets else ""


def plain_windows(targets: int, seq_len: int, *, drop_tail: bool, max_targets: int | None) -> list[Window]:
    """Windows of seq_len targets one after another. A short last window is left out with drop_tail."""
    targets = min(targets, max_targets or targets)
    if drop_tail:
        targets -= targets % seq_len
    return [Window(start, start, min(start + seq_len, targets)) for start in range(0, targets, seq_len)]


def plain_name(seq_len: int, *, drop_tail: bool, max_targets: int | None) -> str:
    """The name of a plain mode; scores with equal names are comparable."""
    return f"plain{seq_len}" + ("-drop_tail" if drop_tail else "") + first_suffix(max_targets)


def overlapping_windows(targets: int, seq_len: int, stride: int, *, first: int) -> list[Window]:
    """Windows of at most seq_len targets. The first scores `first` targets, the others `stride`, the last what is left.

    A window that scores `scored .. scored + size - 1` starts at scored + size - seq_len, or at 0 if that is negative.
    Its start is the same where fewer targets are left.
    """
    windows, scored, size = [], 0, first
    while scored < targets:
        windows.append(Window(max(0, scored + size - seq_len), scored, min(scored + size, targets)))
        scored, size = scored + size, stride
    return windows
