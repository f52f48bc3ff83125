"""Overlapping windows inside every document."""

from pgolf.errors import require
from pgolf.eval.windows import check_max_targets, first_suffix, overlapping_windows
from pgolf.slots import Window


class DocumentStride:
    """The first window of a document scores its seq_len targets. Each later one starts and ends `stride` targets later.

    A window scores its last `stride` targets, the last window those that remain. It is the second control of test-time
    training per document: what overlap alone gains inside documents. The start of a window does not depend on where the
    document ends, so the last window is shorter; `sliding` makes it whole. stride: from 1 to seq_len. max_targets:
    score only this many targets, from the start of the text; null scores all.
    """

    def __init__(self, seq_len: int, *, stride: int, max_targets: int | None):
        require(1 <= stride <= seq_len, "stride", stride, f"choose from 1 to the window length, {seq_len}")
        check_max_targets(max_targets)
        self.seq_len, self.stride, self.max_targets = seq_len, stride, max_targets
        self.name = f"document{seq_len}-stride{stride}" + first_suffix(max_targets)

    def document_windows(self, targets: int) -> list[Window]:
        return overlapping_windows(targets, self.seq_len, self.stride, first=self.seq_len)
