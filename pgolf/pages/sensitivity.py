"""The section that shows how each verdict reads under other tests."""

from pgolf.tables.decision import Corrected
from pgolf.tables.family import ArmRow, FamilyTable
from pgolf.tables.sensitivity import is_turned, prior_text, result_decision, sensitivity
from pgolf.tables.text import Grid, Section, SectionKind, p_text, verdict_text


def sensitivity_section(table: FamilyTable) -> list[Section]:
    """One row per compared arm, one column per test, the named one first; no section without a comparison."""
    found = sensitivity(table)
    if found is None:
        return []
    margin = table.settings.smallest_effect_bpb

    def cell(row: ArmRow, result: Corrected | None) -> str:
        decision = result_decision(row, result)
        return "" if decision is None or result is None else f"{verdict_text(decision, margin)} ({p_text(result.p)})"

    rows = tuple(
        (row.label, *(cell(row, result) for result in results), "yes" if is_turned(row, results) else "")
        for row, results in found.rows
    )
    first, *others = (method.label for method in found.methods)
    outliers = (
        f" Not shrunk, since their variance is an outlier: {', '.join(found.outliers)}." if found.outliers else ""
    )
    turned = [row.label for row, results in found.rows if is_turned(row, results)]
    names = f": {', '.join(turned)}" if turned else ""
    summary = f"Decisions that depend on the test: {len(turned)} of {len(rows)}{names}."
    correction = table.settings.rules.correction
    added = (
        " The other tests are for a number of seeds that was fixed beforehand. Here seeds were added until a decision, "
        "so that their error rates are higher than they say."
    )
    line = (
        f"The decision and {correction}'s p under each test. Only the named test, which stands first, judges. "
        f"{prior_text(found.prior).capitalize()}.{outliers}"
        f"{added if table.settings.method.is_sequential else ''}"
    )
    titles = ("arm", f"{first} (named)", *others, "depends on the test")
    grid = Grid(titles, (False,) * len(titles), rows)
    return [Section(SectionKind.SENSITIVITY, f"{table.family.name}: sensitivity to the test", (summary, line), grid)]
