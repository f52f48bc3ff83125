"""Families of arms as numbers: what a table shows of each arm and of its comparison with the baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgolf.tables.caveats import Caveat
from pgolf.tables.contrast import Comparison, Settings
from pgolf.tables.decision import Corrected, Decision
from pgolf.tables.groups import Group
from pgolf.tables.resolution import Resolution
from pgolf.tables.stats import Noise, pooled_sd


@dataclass(frozen=True)
class Family:
    """Arms of one study, in display order, and the baseline arm that they are compared with; None for no comparison.

    unequal_budgets: the study gives its arms budgets of their own, so that another budget allows a verdict.
    planned_seeds: of every arm, by the study's file.
    """

    name: str
    study: str
    arms: tuple[str, ...]
    baseline: str | None
    unequal_budgets: bool = False
    planned_seeds: tuple[int, ...] = ()

    def added_seeds(self, g: Group) -> list[int]:
        """The counted seeds of an arm that neither the study's file nor the first sweep of the arm planned; empty where
        the file plans none.
        """
        first = min(g.sweeps, default=None)
        of_first = {row["seed"] for row in g.rows if [g.arm, first] in [place[:2] for place in row["planned"] or []]}
        return sorted(set(g.used) - of_first - set(self.planned_seeds)) if self.planned_seeds else []


@dataclass(frozen=True)
class ArmRow:
    """One row of a table. corrected: the decision after Holm's correction. hindrance: why no verdict can rest on it.
    planned_seeds: of the sweeps that plan it, and of the study. extra: further cells by column title (a published
    value, a verdict).
    """

    label: str
    group: Group
    is_baseline: bool
    mean_bpb: float | None
    sd_bpb: float | None
    comparison: Comparison | None
    corrected: Corrected | None
    caveats: tuple[Caveat, ...]
    differing: Mapping[str, Any]
    hindrance: str | None = None
    planned_seeds: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def holm_p(self) -> float | None:
        return None if self.corrected is None else self.corrected.p

    @property
    def decision(self) -> Decision | None:
        """The decision on the difference; UNDECIDED with a hindrance, None without a test."""
        if self.comparison is None or self.comparison.test is None or self.group.planned is False:
            return None
        if self.hindrance is not None:
            return Decision.UNDECIDED
        return None if self.corrected is None else self.corrected.decision


@dataclass(frozen=True)
class FamilyTable:
    """shared: the parts common to all arm names of the study. Labels leave them out. absent: arms without any run.
    study: all groups of the study, for the prior of the moderated test.
    """

    family: Family
    rows: tuple[ArmRow, ...]
    shared: tuple[str, ...]
    noise: tuple[Resolution, ...]
    settings: Settings
    absent: tuple[str, ...] = ()
    study: tuple[Group, ...] = ()


def row_of(arm: str, table: FamilyTable) -> ArmRow | None:
    """The configuration that represents an arm: that of its latest sweep. Unplanned configurations are ignored."""
    rows = [row for row in table.rows if row.group.arm == arm and row.group.planned is not False]
    return max(rows, key=lambda row: max(row.group.sweeps, default=-1), default=None)


def uncompared(row: ArmRow | None) -> str | None:
    """Why an arm's scores cannot be compared with its baseline's; None if they can."""
    if row is None or row.mean_bpb is None:
        return "has no score"
    refusal = None if row.comparison is None else row.comparison.refusal
    return None if refusal is None else f"cannot be compared: {refusal.text}"


def base_of(row: ArmRow, table: FamilyTable) -> ArmRow | None:
    """The baseline's row that an arm was compared with; None without a difference. Of several configurations of the
    baseline it is the one that `baseline_of` chose.
    """
    comparison = row.comparison
    if comparison is None or comparison.refusal is not None:
        return None
    return next((other for other in table.rows if other.is_baseline and other.label == comparison.baseline), None)


def seed_noise(table: FamilyTable) -> Noise:
    """The standard deviation between seeds within an arm, pooled over baselines and compared arms, each once. It is the
    unit of effects, whatever the test.
    """
    scored = [row for row in table.rows if row.is_baseline or (row.comparison is not None and row.comparison.test)]
    return pooled_sd(list({row.group.fingerprint: row.group.values("val_bpb") for row in scored}.values()))
