"""Changes of a study's rules of judgement after its runs had begun. They stand above its tables."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from pgolf.records.progress import count_text
from pgolf.study.description import Study


def with_changes(study: Study, before: Study | None, scored: int) -> Study:
    """The study with the changes that an earlier description had, and with those since then.

    before: as the study's folder describes it. scored: the number of runs that have a record. The change to the
    sequential test by launch.seeds=auto is not listed: the description says it.
    """
    if before is None:
        return study
    when = f"on {datetime.now(UTC):%Y-%m-%d}, after {count_text(scored, 'run')}"
    new = [f"{change} ({when})" for change in differences(before, study)] if scored else []
    return replace(study, changes=(*before.changes, *new))


def differences(before: Study, now: Study) -> Iterator[str]:
    """What differs between two descriptions of a study and decides its verdicts, in words."""
    if before.method != now.method and now.most_seeds is None:
        yield f"test: from {before.method.label} to {now.method.label}"
    for key in ("smallest_effect_bpb", "equivalence_alpha"):
        old, new = getattr(before, key), getattr(now, key)
        if old != new:
            yield f"{key}: from {old:g} to {new:g}"
    if before.planned_seeds and before.planned_seeds != now.planned_seeds:
        old, new = (", ".join(map(str, seeds)) or "none" for seeds in (before.planned_seeds, now.planned_seeds))
        yield f"planned seeds: from {old} to {new}"
    for plan in now.families:
        old_plan = before.plan_of(plan.name)
        if old_plan is None and not plan.explored:
            yield f"family {plan.name}: added"
        elif old_plan is not None and old_plan.baseline != plan.baseline:
            yield f"family {plan.name}: baseline from {old_plan.baseline} to {plan.baseline}"
        elif old_plan is not None and old_plan.arms != plan.arms:
            yield f"family {plan.name}: other arms"
    if [claim.tests for claim in before.claims] != [claim.tests for claim in now.claims]:
        yield "claims: other tests"
