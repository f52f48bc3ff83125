"""Under which conditions a table's runs were made: budget, data, what they were scored on."""

from collections.abc import Iterable
from typing import Any

from pgolf.records.rows import Row
from pgolf.tables.table import FamilyTable


def conditions(table: FamilyTable) -> str:
    """One sentence; what is not the same in all counted runs is told to differ. Empty without a run."""
    runs = [run for row in table.rows for run in row.group.used.values()]
    if not runs:
        return ""
    facts = [
        told({fact(run) for run in runs}, what)
        for fact, what in ((budget, "budgets"), (data, "data"), (scored, "parts of a text"))
    ]
    return f"Runs: {'; '.join(filter(None, facts))}."


def told(found: Iterable[str], what: str) -> str:
    values = sorted(found)
    return (
        values[0] if len(values) == 1 else f"{what} that differ ({', '.join(value or 'not known' for value in values)})"
    )


def budget(run: Row) -> str:
    """`171 steps of 4,096 tokens`, or the tokens or seconds that a run was given."""
    batch = run.get("budget.batch_tokens")
    of = "" if batch is None else f" of {amount(batch)} tokens"
    given = next((key for key in ("steps", "tokens", "seconds") if run.get(f"budget.{key}") is not None), None)
    if given is None:
        return ""
    return f"{amount(run[f'budget.{given}'])} {given}" + (of if given == "steps" else f" in steps{of}")


def data(run: Row) -> str:
    return f"data={run['choices.data']}" if run.get("choices.data") else ""


def scored(run: Row) -> str:
    """By bytes: texts are the same where tokens are not."""
    size = run.get("val_bytes")
    return f"scored in mode {run.get('eval_mode')}" + ("" if size is None else f" on {amount(size)} bytes of text")


def amount(value: Any) -> str:
    return f"{value:,.15g}"
