"""The result of an audit: checks with their evidence, as a table, as JSON, or as an exception."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pgolf.errors import PgolfError

EVIDENCE_WIDTH = 96  # characters of a line of the printed table, after the columns


class AuditError(PgolfError):
    """A rule is broken. The message has the evidence, one line per failed check."""


class Verdict(StrEnum):
    """What a check found. NOT_CHECKED: it could not be executed; the evidence says why."""

    PASS = "pass"
    FAIL = "fail"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """The result of one check.

    rule: the rule that it belongs to, such as `causality`. name: what must hold, such as `later tokens change nothing`.
    evidence: what was seen, one line; of a failed check the position, tensor and value. limits: what the check cannot
    see, one line. data: the evidence as numbers, for JSON.
    """

    rule: str
    name: str
    verdict: Verdict
    evidence: str
    limits: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Checks in the order in which they were executed. `a + b` has those of both."""

    checks: tuple[Check, ...] = ()

    def __add__(self, other: "Report") -> "Report":
        if not isinstance(other, Report):
            return NotImplemented
        return Report((*self.checks, *other.checks))

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def of(self, verdict: Verdict) -> tuple[Check, ...]:
        """The checks with one verdict."""
        return tuple(check for check in self.checks if check.verdict == verdict)

    @property
    def failed(self) -> tuple[Check, ...]:
        return self.of(Verdict.FAIL)

    def check(self, *, strict: bool = False) -> None:
        """Raise AuditError with the evidence if a check failed. strict: also if a check could not be executed."""
        bad = [c for c in self.checks if c.verdict == Verdict.FAIL or (strict and c.verdict == Verdict.NOT_CHECKED)]
        if bad:
            raise AuditError("\n".join(f"{c.rule}: {c.name}: {c.verdict}. {c.evidence}" for c in bad))

    def counts(self) -> dict[str, int]:
        """Number of checks by verdict."""
        found = Counter(check.verdict for check in self.checks)
        return {verdict.value: found[verdict] for verdict in Verdict}

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the counts, and the fields of every check."""
        return {
            "counts": self.counts(),
            "checks": [
                {
                    "rule": check.rule,
                    "name": check.name,
                    "verdict": check.verdict.value,
                    "evidence": check.evidence,
                    "limits": check.limits,
                    "data": dict(check.data),
                }
                for check in self.checks
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON. Raises ValueError for a number that is not finite: `data` must have none."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __str__(self) -> str:
        """A table: verdict, rule and name, then the evidence and the limits, indented."""
        lines = []
        for check in self.checks:
            lines.append(f"{check.verdict.value:<11}  {check.rule}: {check.name}")
            texts = [check.evidence, f"limits: {check.limits}" if check.limits else ""]
            lines += [f"{'':<13}{line}" for text in texts if text for line in textwrap.wrap(text, EVIDENCE_WIDTH)]
        lines.append(", ".join(f"{number} {verdict}" for verdict, number in self.counts().items()))
        return "\n".join(lines)
