"""Non-overlapping windows that never reach into another document."""

from pgolf.eval.windows import check_max_targets, first_suffix, plain_windows
from pgolf.slots import Window


class DocumentIsolated:
    """Windows of seq_len targets one after another from the start of every document; its last one may be shorter.

    The context of a target is its input and the 0 to seq_len - 1 tokens before it, all of one document. It is the first
    control of test-time training per document: the difference to `plain` is what leaving out other documents changes.
    max_targets: score only this many targets, from the start of the text; null scores all.
    """

    def __init__(self, seq_len: int, *, max_targets: int | None):
        check_max_targets(max_targets)
        self.seq_len, self.max_targets = seq_len, max_targets
        self.name = f"document{seq_len}-isolated" + first_suffix(max_targets)

    def document_windows(self, targets: int) -> list[Window]:
        return plain_windows(targets, self.seq_len, drop_tail=False, max_targets=None)
