"""Rows -> groups: everything but the seed. A group knows which of its records count, once each, and what is wrong with
the rest.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pgolf.records.kinds import is_amount, is_number
from pgolf.records.record import STATUSES
from pgolf.records.rows import Row

SHORT = 8  # hex digits of a fingerprint that a folder's name holds
CONFIG, CHOICES = "config.", "choices."
FOLLOWS_SEED = "the seed"
SHUFFLE_SEED = "config.data.shuffle_seed"
TIMES = ("train_s", "eval_s", "pack_s")
SCORES = ("val_bpb", "val_nats", "val_bpb_live", "val_bpb_averaged", "val_text_sha", "eval_mode")
BUDGET = ("budget.steps", "budget.tokens", "budget.seconds", "budget.batch_tokens")


@dataclass(frozen=True)
class Caveat:
    """Something a reader must know. kind: what its like are listed under; text: for the notes column."""

    kind: str
    text: str


@dataclass(frozen=True)
class Group:
    """All runs of one configuration under one arm's name.

    used: the ok record of each seed that counts. planned: None where nothing is known of a plan, False for a
    configuration that no sweep plans any more. refused: why there is no mean.
    """

    study: str
    arm: str
    fingerprint: str
    rows: tuple[Row, ...]
    used: Mapping[int, Row]
    planned: bool | None
    planned_seeds: int
    position: int
    sweeps: frozenset[int]
    marks: tuple[Caveat, ...]
    refused: str | None

    @property
    def n(self) -> int:
        return len(self.used)

    def values(self, key: str) -> list[float]:
        """A measured field of the counted records, by seed; empty unless every one has it as a number."""
        found = [row.get(key) for _, row in sorted(self.used.items())]
        return [float(x) for x in found] if all(map(is_number, found)) else []  # type: ignore[arg-type]

    def mean(self, key: str) -> float | None:
        values = self.values(key)
        return fmean(values) if values else None

    def only(self, key: str) -> Any:
        """The value that all counted records share, None where they differ or lack it."""
        found = [row.get(key) for row in self.used.values()]
        return found[0] if found and found.count(found[0]) == len(found) else None


def group(rows: Iterable[Row]) -> list[Group]:
    """Groups by (study, arm, fingerprint), planned ones in plan order, then the others by name."""
    found: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    short: list[tuple[tuple[str, str, str], Row]] = []
    for row in rows:
        for arm in dict.fromkeys([place[0] for place in row["planned"] or []] or [row["arm"]]):
            key = (row["study"], arm, row["fingerprint"])
            if len(row["fingerprint"]) > SHORT:
                found[key].append(row)
            else:
                short.append((key, row))
    by_short = {(study, arm, whole[:SHORT]): (study, arm, whole) for study, arm, whole in found}
    for key, row in short:  # a damaged record tells its configuration by its folder's name alone
        found[by_short.get(key, key)].append(row)
    return sorted(
        (make_group(*key, members) for key, members in found.items()),
        key=lambda g: (g.position, g.study, g.arm, g.fingerprint),
    )


def make_group(study: str, arm: str, fingerprint: str, rows: Sequence[Row]) -> Group:
    places = [place for row in rows for place in row["planned"] or [] if place[0] == arm]
    known = [row["planned"] is not None for row in rows]
    planned_seeds = {row["seed"] for row in rows if row["planned"] and any(place[0] == arm for place in row["planned"])}
    used, marks = counted(rows)
    marks = [*unfinished(rows), *marks, *shared_marks(used)]
    if places and (extra := sorted(set(used) - planned_seeds)):
        marks.append(Caveat("seeds that no sweep plans are counted", f"{seeds_text(extra)} not planned"))
    planned = True if places else (False if any(known) else None)
    if planned is False:
        marks.append(Caveat("configurations that no sweep plans (any more)", "not planned (any more)"))
    return Group(
        study,
        arm,
        fingerprint,
        tuple(rows),
        used,
        planned,
        len(planned_seeds),
        min((place[2] for place in places), default=10**12),
        frozenset(place[1] for place in places),
        tuple(marks),
        refusal(used),
    )


def counted(rows: Sequence[Row]) -> tuple[dict[int, Row], list[Caveat]]:
    """The ok record of each seed. Copies that agree count once; a seed whose records disagree does not count at all."""
    by_seed: defaultdict[int, list[Row]] = defaultdict(list)
    records: defaultdict[int, list[Row]] = defaultdict(list)
    marks, used = [], {}
    for row in rows:
        if row["status"] in STATUSES:
            records[row["seed"]].append(row)
        if row["status"] == "ok":
            if is_amount(row.get("val_bpb")):
                by_seed[row["seed"]].append(row)
            else:
                marks.append(
                    Caveat("ok records without a finite score are left out", f"seed {row['seed']} has no finite score")
                )
    for seed, found in by_seed.items():
        if len({(row["val_bpb"], row["val_nats"], row["val_text_sha"], row["eval_mode"]) for row in found}) == 1:
            used[seed] = found[0]
    agreed = set(used)
    for seed, why in copied(used).items():
        row = used.pop(seed)
        marks.append(
            Caveat("records of another seed are left out", f"seed {seed} {why}, left out ({row.get('folder')})")
        )
    for seed, found in records.items():
        if len(found) > 1:
            where = ", ".join(sorted({str(row.get("folder")) for row in found}))
            fate = "counted once" if seed in agreed else "which disagree, left out" if seed in by_seed else "none ok"
            marks.append(
                Caveat(
                    "one configuration and seed recorded more than once",
                    f"seed {seed}: {len(found)} records, {fate} ({where})",
                )
            )
    return used, marks


def copied(used: Mapping[int, Row]) -> dict[int, str]:
    """Seeds whose record is another seed's, each with what shows it: the seed of its data, the times that it took, its
    scores.

    Two trainings never take equal times to the last digit. Equal scores show a copy only where further seeds of the arm
    score otherwise: where all are alike, the seed may have no effect, and that is said instead (`shared_marks`).
    """
    shuffles = {seed: row[SHUFFLE_SEED] for seed, row in used.items() if SHUFFLE_SEED in row}
    # In one configuration it is the seed, or the same for all.
    follows = len({repr(value) for value in shuffles.values()}) > 1
    found = {seed: f"has {SHUFFLE_SEED}={value}" for seed, value in shuffles.items() if follows and value != seed}
    for keys, what in ((TIMES, "took the times"), (SCORES, "has the scores")):
        first: dict[tuple[Any, ...], int] = {}
        rest = [seed for seed in sorted(used) if seed not in found]
        told = {seed: tuple(used[seed].get(key) for key in keys) for seed in rest}
        alike = {seed: first.setdefault(told[seed], seed) for seed in rest if keys == SCORES or None not in told[seed]}
        if keys == SCORES and len(first) == 1:  # all alike: a copy only where its data are those of the other seed
            alike = {seed: of for seed, of in alike.items() if shuffles.get(seed) == of}
        if keys == TIMES or len(first) > 1 or alike:
            found |= {seed: f"{what} of seed {of} to the last digit" for seed, of in alike.items() if seed != of}
    return found


def unfinished(rows: Sequence[Row]) -> list[Caveat]:
    """A mark for each status but ok, with its seeds."""
    seeds: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        if row["status"] != "ok":
            seeds[row["status"]].append(row["seed"])
    return [Caveat(f"runs that are {status}", f"{seeds_text(found)} {status}") for status, found in seeds.items()]


def seeds_text(seeds: Sequence[Any]) -> str:
    told = ", ".join(str(s) for s in sorted(set(seeds), key=lambda s: (s is None, s)))
    return f"seed{'s' if len(set(seeds)) > 1 else ''} {told.replace('None', '?')}"


def shared_marks(used: Mapping[int, Row]) -> list[Caveat]:
    """What the counted records of one configuration should share, and do not; and what they should not."""
    marks = []
    for key, what in (("code_sha", "code"), ("data_sha", "training data"), ("device", "devices")):
        if len({repr(row.get(key)) for row in used.values()}) > 1:
            marks.append(Caveat(f"{what} not the same for all seeds of an arm", f"{what} not the same for all seeds"))
    if len({tuple(repr(row.get(key)) for key in BUDGET) for row in used.values()}) > 1:
        marks.append(Caveat("budget not the same for all seeds of an arm", "budget not the same for all seeds"))
    if len(used) > 1 and len({row["val_bpb"] for row in used.values()}) == 1:
        marks.append(
            Caveat(
                "all seeds of an arm score alike to the last digit: does the seed reach the run?",
                "all seeds score alike",
            )
        )
    said = sorted({str(text) for row in used.values() for text in row.get("warnings") or []})
    return [*marks, *(Caveat("records carry warnings", text) for text in said)]


def refusal(used: Mapping[int, Row]) -> str | None:
    """Why the counted records have no common mean."""
    if not used:
        return "no ok record"
    for key, what in (("val_text_sha", "validation texts"), ("eval_mode", "evaluation modes")):
        if (different := len({row[key] for row in used.values()})) > 1:
            return (
                f"its seeds were scored on {different} {what}"
                if key == "val_text_sha"
                else f"its seeds were scored in {different} {what}"
            )
    return None


def differing_keys(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """Configuration keys that differ between groups, each with a value per group (None where a group has none).

    What follows the seed is no difference: it reads "the seed". Two seeds of a group tell, as all else is one
    configuration. Records without `config.*` are told apart by their choices.
    """
    rows = [list({row["seed"]: row for row in g.rows if row["status"] in STATUSES}.values())[:2] for g in groups]
    flat = [row for found in rows for row in found]
    names = set().union(*flat)
    prefix = CONFIG if any(key.startswith(CONFIG) for key in names) else CHOICES
    differing = {}
    for key in sorted(key for key in names if key.startswith(prefix) and key != "config.seed"):
        column = [row.get(key) for row in flat]
        if column.count(column[0]) == len(column):
            continue
        values = [[(row["seed"], row.get(key)) for row in found] for found in rows]
        follows = follows_seed(values)
        shown = [value_of(found, follows) for found in values]
        if len({repr(value) for value, found in zip(shown, rows, strict=True) if found}) > 1:
            differing[key.removeprefix(CONFIG)] = shown
    return differing


def follows_seed(values: Sequence[Sequence[tuple[int, Any]]]) -> bool:
    """Whether a key's value is its run's seed in some group of several seeds, or in every run."""
    several = any(
        len({seed for seed, _ in found}) > 1 and all(seed == value for seed, value in found) for found in values
    )
    told = [pair for found in values for pair in found]
    return several or (len({seed for seed, _ in told}) > 1 and all(seed == value for seed, value in told))


def value_of(found: Sequence[tuple[int, Any]], follows: bool) -> Any:
    """A group's value of one key."""
    if not found:
        return None
    if follows and all(seed == value for seed, value in found):
        return FOLLOWS_SEED
    distinct = {repr(value): value for _, value in found}
    return found[0][1] if len(distinct) == 1 else "varies with the seed"
