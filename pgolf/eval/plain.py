"""Non-overlapping windows."""

from pgolf.errors import require
from pgolf.eval.windows import plain_name, plain_windows
from pgolf.slots import Window


class Plain:
    """Windows of seq_len targets one after another, the last one short; a target sees 0 to seq_len - 1 tokens before
    its input.

    drop_tail: leave the short last window out (the published truncation). max_targets: score only the first so many;
    null scores all. window_tokens: shorter windows than the model was trained on; null for its own length.
    """

    def __init__(self, seq_len: int, *, drop_tail: bool, max_targets: int | None, window_tokens: int | None):
        fits = window_tokens is None or 1 <= window_tokens <= seq_len
        require(
            fits,
            "window_tokens",
            window_tokens,
            f"choose from 1 to the model's context of {seq_len} tokens, or null for that",
        )
        require(
            max_targets is None or max_targets >= 1, "max_targets", max_targets, "choose 1 or more, or null for all"
        )
        self.seq_len, self.drop_tail, self.max_targets = window_tokens or seq_len, drop_tail, max_targets
        self.name = plain_name(self.seq_len, drop_tail=drop_tail, max_targets=max_targets)

    def windows(self, targets: int) -> list[Window]:
        return plain_windows(targets, self.seq_len, drop_tail=self.drop_tail, max_targets=self.max_targets)
