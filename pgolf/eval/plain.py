"""Non-overlapping windows."""

from pgolf.errors import require
from pgolf.eval.windows import check_max_targets, plain_name, plain_windows
from pgolf.slots import Window


class Plain:
    """Windows of seq_len targets one after another; the last one may be shorter.

    The context of a target is its input and the 0 to seq_len - 1 tokens before it in the window. drop_tail: leave out
    the last window if it is short, as the published scores do. max_targets: score only this many targets, from the
    start; null scores all. window_tokens: length of the windows; null for the length that the model was trained on.
    """

    def __init__(self, seq_len: int, *, drop_tail: bool, max_targets: int | None, window_tokens: int | None):
        in_range = window_tokens is None or 1 <= window_tokens <= seq_len
        require(
            in_range,
            "window_tokens",
            window_tokens,
            f"choose from 1 to the model's context of {seq_len} tokens, or null for that",
        )
        check_max_targets(max_targets)
        self.seq_len, self.drop_tail, self.max_targets = window_tokens or seq_len, drop_tail, max_targets
        self.name = plain_name(self.seq_len, drop_tail=drop_tail, max_targets=max_targets)

    def windows(self, targets: int) -> list[Window]:
        return plain_windows(targets, self.seq_len, drop_tail=self.drop_tail, max_targets=self.max_targets)
