"""Long segments with attention in a band: what a key-value cache that moves with the text gives."""

from pgolf.errors import require
from pgolf.eval.windows import check_max_targets, first_suffix
from pgolf.slots import Window


class Rolling:
    """Segments of `segment` contexts of targets, each after seq_len - 1 unscored tokens of warm-up.

    In a segment every position attends to the last `reach` positions, its own included, and `reach_share` is reach /
    seq_len. That is what a cache of `reach` keys and values gives (the rolling buffer cache of arXiv 2310.06825), but
    all positions of a segment are computed in one pass. Every block adds reach - 1 positions to what a target depends
    on, as far back as the segment goes. The last segment ends at the last target; it is as long as the others if there
    is enough text. The warm-up is computed twice: (seq_len - 1) / (segment * seq_len) of the positions. max_targets:
    score only this many targets, from the start; null scores all.
    """

    def __init__(self, seq_len: int, *, reach_share: float, segment: int, max_targets: int | None):
        require(segment >= 1, "segment", segment, "choose 1 or more contexts per segment")
        check_max_targets(max_targets)
        require(0 < reach_share <= 1, "reach_share", reach_share, "choose a number above 0, up to 1")
        self.reach = max(1, round(reach_share * seq_len))
        self.seq_len, self.segment, self.max_targets = seq_len, segment * seq_len, max_targets
        self.name = f"rolling{seq_len}-reach{self.reach}-segment{segment}{first_suffix(max_targets)}"

    def windows(self, targets: int) -> list[Window]:
        targets, length = min(targets, self.max_targets or targets), self.seq_len - 1 + self.segment
        windows = [Window(0, 0, min(length, targets))]
        while (scored := windows[-1].stop) < targets:
            stop = min(scored + self.segment, targets)
            windows.append(Window(stop - length, scored, stop))
        return windows
