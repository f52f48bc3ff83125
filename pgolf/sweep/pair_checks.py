"""Whether two arms can make pairs, as far as their configurations show it before any run."""

from collections.abc import Sequence
from typing import Any

from pgolf.config.build import build_eval
from pgolf.errors import ConfigError
from pgolf.records.rows import Row
from pgolf.sweep.paired import Arm
from pgolf.tables.groups import BUDGET, SHUFFLE_SEED
from pgolf.tables.pairs import other_order


def check_pair(arms: Sequence[Arm], seed: int, *, unequal_budgets: bool) -> None:
    """Raise ConfigError, before any run, if the runs of two arms with this seed would not be a pair: other budgets,
    another order of the data, another evaluation.
    """
    if not unequal_budgets:
        check_budgets(arms)
    orders = [shuffle_seed_of(arm, seed) for arm in arms]
    if None not in orders and orders[0] != orders[1]:
        raise ConfigError(other_order(seed, *orders))
    if all(arm.runs for arm in arms):
        modes = [build_eval(arm.runs[seed].config).name for arm in arms]
        if modes[0] != modes[1]:
            raise ConfigError(f"eval: is {modes[1]} for CANDIDATE and {modes[0]} for BASE. Give both the same")


def check_budgets(arms: Sequence[Arm]) -> None:
    """Raise ConfigError if two arms train for different budgets."""
    base, candidate = map(budget_of, arms)
    other = [
        f"{key.removeprefix('budget.')} {candidate[key]}, not {base[key]}"
        for key in base.keys() & candidate.keys()
        if base[key] != candidate[key]
    ]
    if other:
        raise ConfigError(
            f"CANDIDATE: has another budget than BASE ({'; '.join(sorted(other))}). Give both the same, or allow it "
            "with --unequal-budgets"
        )


def budget_of(arm: Arm) -> dict[str, Any]:
    """{field of a record: value} of what limits the training of an arm; empty for an arm without a run."""
    if arm.runs:
        train = next(iter(arm.runs.values())).config.train
        return {key: getattr(train, key.removeprefix("budget.")) for key in BUDGET}
    row = next(iter(arm.rows.values()), {})
    return {key: row.get(key) for key in BUDGET if row}


def shuffle_seed_of(arm: Arm, seed: int) -> Any:
    """The seed of the order of the data in an arm's run of a seed; None where it is unknown."""
    if arm.runs:
        return arm.runs[seed].config.data.get("shuffle_seed")
    row: Row = next(iter(arm.rows.values()), {})
    order = row.get(SHUFFLE_SEED)
    return seed if order == row.get("seed") else order
