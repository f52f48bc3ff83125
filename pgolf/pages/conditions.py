"""The conditions of a table's runs: budget, data and scored text."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pgolf.records.rows import Row
from pgolf.tables.family import FamilyTable

UNITS = ("steps", "tokens", "seconds")  # of a budget
Values = tuple[Any, ...]


@dataclass(frozen=True)
class Condition:
    """One fact about a run. read: its values. write: the values as text, empty if they are unknown. plural: for the
    message that runs differ.
    """

    plural: str
    read: Callable[[Row], Values]
    write: Callable[[Values], str]


def conditions(table: FamilyTable) -> str:
    """The conditions of all counted runs in one sentence, with a note where runs differ; empty without a run."""
    runs = [run for row in table.rows for run in row.group.used.values()]
    if not runs:
        return ""
    texts = [condition_text(condition, {condition.read(run) for run in runs}) for condition in CONDITIONS]
    return f"Runs: {'; '.join(filter(None, texts))}."


def condition_text(condition: Condition, distinct: Collection[Values]) -> str:
    """The text of one condition. distinct: its different values in all runs."""
    texts = sorted({condition.write(values) for values in distinct})
    if len(distinct) == 1:
        return texts[0]
    return f"{condition.plural} that differ ({', '.join(text or 'not known' for text in texts)})"


def budget(run: Row) -> Values:
    """(unit, amount, tokens per step); the last is None if it is not known, all are None without a budget."""
    unit = next((unit for unit in UNITS if run.get(f"budget.{unit}") is not None), None)
    return (None, None, None) if unit is None else (unit, run[f"budget.{unit}"], run.get("budget.batch_tokens"))


def budget_text(values: Values) -> str:
    """`171 steps of 4,096 tokens`, or the tokens or seconds that a run was given."""
    unit, size, batch = values
    if unit is None:
        return ""
    of = "" if batch is None else f" of {amount(batch)} tokens"
    return f"{amount(size)} {unit}" + (of if unit == "steps" else f" in steps{of}")


def data(run: Row) -> Values:
    choice = run.get("choices.data")
    return (str(choice) if choice else None,)


def data_text(values: Values) -> str:
    return "" if values[0] is None else f"data={values[0]}"


def scored(run: Row) -> Values:
    """(evaluation mode, scored bytes). Texts are compared by bytes, since tokens depend on the tokenizer."""
    return run.get("eval_mode"), run.get("val_bytes")


def scored_text(values: Values) -> str:
    mode, size = values
    return f"scored in mode {mode}" + ("" if size is None else f" on {amount(size)} bytes of text")


def amount(value: Any) -> str:
    return f"{value:,.15g}"


CONDITIONS = (
    Condition("budgets", budget, budget_text),
    Condition("data", data, data_text),
    Condition("parts of a text", scored, scored_text),
)
