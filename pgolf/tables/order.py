"""Whether measured arms stand in a published order, by Kendall's tau-b over pairs that the seeds can distinguish."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.tables.decision import Rules
from pgolf.tables.stats import TTest, holm


@dataclass(frozen=True)
class Order:
    """Kendall's tau-b between two orders of arms, with its counts of pairs, after Holm's correction over all pairs.

    concordant, discordant: pairs whose difference is shown in, or against, the published order. ties: all others.
    reversed_by_more: pairs shown to be reversed by more than matters. within: pairs shown not to be.
    """

    tau_b: float | None
    concordant: int
    discordant: int
    ties: int
    reversed_by_more: int = 0
    within: int = 0
    reason: str | None = None

    @property
    def pairs(self) -> int:
        return self.concordant + self.discordant + self.ties


def order_agreement(tests: Sequence[TTest], rules: Rules, arms: int) -> Order:
    """The agreement of a measured order with a published one.

    tests: of every pair of arms, as the later arm of the published order minus the earlier one. arms: their number.
    """
    assert len(tests) == arms * (arms - 1) // 2, (len(tests), arms)
    if arms < 3:
        return Order(None, 0, 0, 0, reason="no order with fewer than three arms")
    margin = rules.margin or 0.0
    found = [p is not None and p < rules.alpha for p in holm([test.p for test in tests])]
    signs = [
        math.copysign(1, test.difference) if is_found and test.difference else 0.0
        for test, is_found in zip(tests, found, strict=True)
    ]
    agree, against = signs.count(1.0), signs.count(-1.0)
    reversed_by_more, within = (
        sum(p is not None and p < rules.equivalence_alpha for p in holm(ps))
        for ps in ([test.p_below(-margin) for test in tests], [test.p_above(-margin) for test in tests])
    )
    ties = len(tests) - agree - against
    if not agree + against:
        return Order(None, 0, 0, ties, reversed_by_more, within, "every pair is a tie")
    tau_b = (agree - against) / math.sqrt((agree + against) * len(tests))
    return Order(tau_b, agree, against, ties, reversed_by_more, within)
