"""Where the arrays of a payload lie, and their rows: what a codec may know of the payload besides its bytes."""

from __future__ import annotations

from dataclasses import dataclass

MIN_ROW, MAX_ROW = 64, 4096  # bytes; shorter rows are joined, longer ones cut


@dataclass(frozen=True)
class Span:
    """One array: `count` numbers of `item_bytes` bytes, in rows of `columns` numbers."""

    item_bytes: int
    count: int
    columns: int

    def rows(self) -> list[int]:
        """Lengths of the rows of one plane, in bytes. A plane holds one byte of every number."""
        width = min(max(self.columns, 1), MAX_ROW)
        width *= -(-MIN_ROW // width)
        whole, rest = divmod(self.count, width)
        return [width] * whole + [rest] * (rest > 0)
