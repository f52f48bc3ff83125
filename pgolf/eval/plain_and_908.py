"""Plain windows, and in addition the estimate by window means of parameter-golf pull request 908."""

from pgolf.errors import require
from pgolf.eval.windows import check_max_targets, plain_name, plain_windows
from pgolf.slots import Window


class PlainAnd908:
    """The score of `plain`. The estimate uses overlapping windows, and takes a window's mean loss for its last targets.

    The whole windows of the validation set are divided into `parts`. From the start of each part, windows of seq_len
    targets begin every `stride` tokens, at most `windows` windows; a set with fewer targets than published_targets gets
    proportionally fewer. The nats of the estimate are stride * (sum of window means). Its bytes are those of the last
    `stride` targets of every window. Unlike a sliding window, it gives no target a longer context, and at the published
    size it covers 3.4% of the set.
    """

    estimate_name = "published_908"

    def __init__(
        self,
        seq_len: int,
        *,
        drop_tail: bool,
        max_targets: int | None,
        parts: int,
        stride: int,
        windows: int,
        published_targets: int,
    ):
        check_max_targets(max_targets)
        require(1 <= stride <= seq_len, "stride", stride, f"choose from 1 to the window length, {seq_len}")
        for key, value in (("parts", parts), ("windows", windows), ("published_targets", published_targets)):
            require(value >= 1, key, value, "choose 1 or more")
        self.seq_len, self.drop_tail, self.max_targets = seq_len, drop_tail, max_targets
        self.parts, self.stride, self.most, self.published_targets = parts, stride, windows, published_targets
        self.name = plain_name(seq_len, drop_tail=drop_tail, max_targets=max_targets)

    def windows(self, targets: int) -> list[Window]:
        return plain_windows(targets, self.seq_len, drop_tail=self.drop_tail, max_targets=self.max_targets)

    def estimate_windows(self, targets: int) -> list[Window]:
        """The windows of the estimate. A window's mean loss is taken for its `scored` targets, the last `stride`."""
        whole = targets // self.seq_len
        most = max(1, round(self.most * min(1.0, targets / self.published_targets)))
        windows = []
        for part in range(self.parts):
            first, end = (whole * edge // self.parts * self.seq_len for edge in (part, part + 1))
            starts = range(first, min(end, targets - self.seq_len + 1), self.stride)
            windows += [
                Window(start, start + self.seq_len - self.stride, start + self.seq_len) for start in starts[:most]
            ]
        return windows
