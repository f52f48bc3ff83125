"""Non-overlapping windows."""

from pgolf.errors import require
from pgolf.slots import Window
from pgolf.windows import plain_name, plain_windows


class Plain:
    """Windows of seq_len targets one after another, the last one short; a target sees 0 to seq_len - 1 tokens before its input.

    drop_tail: leave the short last window out (the published truncation). max_targets: score only the first so many; null scores all.
    """

    def __init__(self, seq_len: int, *, drop_tail: bool, max_targets: int | None):
        require(max_targets is None or max_targets >= 1, "max_targets", max_targets, "choose 1 or more, or null for all")
        self.seq_len, self.drop_tail, self.max_targets = seq_len, drop_tail, max_targets
        self.name = plain_name(seq_len, drop_tail=drop_tail, max_targets=max_targets)

    def windows(self, targets: int) -> list[Window]:
        return plain_windows(targets, self.seq_len, drop_tail=self.drop_tail, max_targets=self.max_targets)
