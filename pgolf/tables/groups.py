"""Rows -> groups: all runs of one configuration, whatever their seed. A group counts one record per seed and has a
caveat for each record that does not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pgolf.records.fields import NOT_DECISIVE, STATUSES
from pgolf.records.kinds import is_amount, is_number
from pgolf.records.rows import Row
from pgolf.tables.caveats import BY_STATUS, Caveat, CaveatKind, Refusal, RefusalKind

SHORT = 8  # hex digits of a fingerprint in a folder's name
CONFIG, CHOICES = "config.", "choices."
FOLLOWS_SEED = "the seed"
SHUFFLE_SEED = "config.data.shuffle_seed"
TIMES = ("train_s", "eval_s", "pack_s")
SCORES = ("val_bpb", "val_nats", "val_bpb_live", "val_bpb_averaged", "val_text_sha", "eval_mode")
PACKED = ("val_bpb", "val_nats")
ROUNDED = 12  # characters of a number that may have been rounded, so that two runs can share it by chance
BUDGET = ("budget.steps", "budget.tokens", "budget.seconds", "budget.batch_tokens")
DETERMINED = ("flops_per_token", "val_targets", "val_bytes")  # with `params.*`, by a configuration and its text
MOST_NAMES = 3  # that a caveat names


@dataclass(frozen=True)
class Group:
    """All runs of one configuration under one arm's name.

    used: the ok record of each seed that counts. planned: None where no plan is known, False for a configuration that
    is not in the current sweep plan. refusal: why there is no mean.
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
    caveats: tuple[Caveat, ...]
    refusal: Refusal | None

    @property
    def n(self) -> int:
        return len(self.used)

    def values(self, key: str) -> list[float]:
        """A measured field of the counted records, by seed; empty unless every record has it as a number."""
        values = [row.get(key) for _, row in sorted(self.used.items())]
        return [float(x) for x in values] if all(map(is_number, values)) else []  # type: ignore[arg-type]

    def mean(self, key: str) -> float | None:
        values = self.values(key)
        return fmean(values) if values else None

    def only(self, key: str) -> Any:
        """The value that all counted records share; None if they differ or do not have it."""
        values = [row.get(key) for row in self.used.values()]
        return values[0] if values and values.count(values[0]) == len(values) else None


def group(rows: Iterable[Row]) -> list[Group]:
    """Groups by (study, arm, fingerprint), planned ones in plan order, then the others by name."""
    members: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    unidentified: list[tuple[tuple[str, str, str], Row]] = []
    for row in rows:
        for arm in dict.fromkeys([place[0] for place in row["planned"] or []] or [row["arm"]]):
            key = (row["study"], arm, row["fingerprint"])
            if len(row["fingerprint"]) > SHORT:
                members[key].append(row)
            else:
                unidentified.append((key, row))
    by_short = {(study, arm, whole[:SHORT]): (study, arm, whole) for study, arm, whole in members}
    for key, row in unidentified:  # of a damaged record only the fingerprint's beginning is known, by its folder
        members[by_short.get(key, key)].append(row)
    return sorted(
        (make_group(*key, rows_of_one) for key, rows_of_one in members.items()),
        key=lambda g: (g.position, g.study, g.arm, g.fingerprint),
    )


def make_group(study: str, arm: str, fingerprint: str, rows: Sequence[Row]) -> Group:
    places = [place for row in rows for place in row["planned"] or [] if place[0] == arm]
    has_plan = [row["planned"] is not None for row in rows]
    planned_seeds = {row["seed"] for row in rows if row["planned"] and any(place[0] == arm for place in row["planned"])}
    used, caveats = counted(rows)
    caveats = [*caveats_of_statuses(rows), *caveats, *caveats_of_used(used)]
    if places and (extra := sorted(set(used) - planned_seeds)):
        caveats.append(Caveat(CaveatKind.UNPLANNED_SEED, f"{seeds_text(extra)} not in the current sweep plan"))
    planned = True if places else (False if any(has_plan) else None)
    if planned is False:
        caveats.append(Caveat(CaveatKind.UNPLANNED, "not in the current sweep plan"))
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
        tuple(caveats),
        mean_refusal(used),
    )


def counted(rows: Sequence[Row]) -> tuple[dict[int, Row], list[Caveat]]:
    """The ok record of each seed that counts, and caveats.

    Equal copies of a record count once. A seed whose records disagree does not count.
    """
    scored: defaultdict[int, list[Row]] = defaultdict(list)
    records: defaultdict[int, list[Row]] = defaultdict(list)
    caveats, used = [], {}
    for row in rows:
        if row["status"] in STATUSES:
            records[row["seed"]].append(row)
        if row["status"] == "ok":
            if is_amount(row.get("val_bpb")):
                scored[row["seed"]].append(row)
            else:
                caveats.append(Caveat(CaveatKind.NO_SCORE, f"seed {row['seed']} has no finite score"))
    for seed, candidates in scored.items():
        scores = {(row["val_bpb"], row["val_nats"], row["val_text_sha"], row["eval_mode"]) for row in candidates}
        if len(scores) == 1:
            used[seed] = candidates[0]
    consistent = set(used)
    for seed, evidence in copied_seeds(used).items():
        row = used.pop(seed)
        caveats.append(Caveat(CaveatKind.COPIED_SEED, f"seed {seed} {evidence}, left out ({row.get('folder')})"))
    for seed, duplicates in records.items():
        if len(duplicates) > 1:
            folders = ", ".join(sorted({str(row.get("folder")) for row in duplicates}))
            use = "counted once" if seed in consistent else "which disagree, left out" if seed in scored else "none ok"
            caveats.append(Caveat(CaveatKind.DUPLICATE, f"seed {seed}: {len(duplicates)} records, {use} ({folders})"))
    return used, caveats


def copied_seeds(used: Mapping[int, Row]) -> dict[int, str]:
    """Seeds whose record is a copy of another seed's, each with the evidence: the seed of its data, its times or its
    scores.

    Two training runs never take exactly the same time. Equal scores are evidence of a copy only if other seeds of the
    arm have other scores. If all seeds have one score, the seed may have no effect; `caveats_of_used` reports that.
    """
    shuffles = {seed: row[SHUFFLE_SEED] for seed, row in used.items() if SHUFFLE_SEED in row}
    # Within one configuration the shuffle seed is either the seed of the run or the same for all runs.
    follows = len({repr(value) for value in shuffles.values()}) > 1
    copies = {seed: f"has {SHUFFLE_SEED}={value}" for seed, value in shuffles.items() if follows and value != seed}
    for keys, evidence in ((TIMES, "took the times"), (SCORES, "has the scores"), (PACKED, "has the packed score")):
        first: dict[tuple[Any, ...], int] = {}
        rest = [seed for seed in sorted(used) if seed not in copies]
        values = {seed: tuple(used[seed].get(key) for key in keys) for seed in rest}
        equal = {seed: first.setdefault(values[seed], seed) for seed in rest if is_evidence(keys, values[seed])}
        if keys != TIMES and len(first) == 1:  # one score for all: a copy only if it also has the other seed's data
            equal = {seed: of for seed, of in equal.items() if shuffles.get(seed) == of}
        copies |= {seed: f"{evidence} of seed {of} to the last digit" for seed, of in equal.items() if seed != of}
    return copies


def is_evidence(keys: Sequence[str], values: Sequence[Any]) -> bool:
    """Whether two runs with these values of `TIMES`, `SCORES` or `PACKED` may be copies."""
    if keys == PACKED:
        return len(repr(values[0])) > ROUNDED
    return keys == SCORES or None not in values


def caveats_of_statuses(rows: Sequence[Row]) -> list[Caveat]:
    """One caveat per status other than ok, with its seeds."""
    seeds: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        if row["status"] != "ok":
            seeds[row["status"]].append(row["seed"])
    return [Caveat(BY_STATUS[status], f"{seeds_text(of)} {status}") for status, of in seeds.items()]


def seeds_text(seeds: Sequence[Any]) -> str:
    names = ", ".join("?" if s is None else str(s) for s in sorted(set(seeds), key=lambda s: (s is None, s)))
    return f"seed{'s' if len(set(seeds)) > 1 else ''} {names}"


def caveats_of_used(used: Mapping[int, Row]) -> list[Caveat]:
    """Caveats for counted records that differ where one configuration should not, or that have exactly one score."""
    caveats = []
    for key, kind, noun in (
        ("code_sha", CaveatKind.MIXED_CODE, "code"),
        ("data_sha", CaveatKind.MIXED_DATA, "training data"),
        ("device", CaveatKind.MIXED_DEVICES, "devices"),
    ):
        if len({repr(row.get(key)) for row in used.values()}) > 1:
            caveats.append(Caveat(kind, f"{noun} not the same for all seeds"))
    if len({tuple(repr(row.get(key)) for key in BUDGET) for row in used.values()}) > 1:
        caveats.append(Caveat(CaveatKind.MIXED_BUDGET, "budget not the same for all seeds"))
    if len({(row.get("val_text_sha"), row.get("eval_mode")) for row in used.values()}) == 1:
        caveats += [Caveat(CaveatKind.MIXED_VALUES, names) for names in mixed_values(list(used.values()))]
    if len(used) > 1 and len({row["val_bpb"] for row in used.values()}) == 1:
        caveats.append(Caveat(CaveatKind.EQUAL_SEEDS, "all seeds have exactly the same score"))
    warnings = sorted({str(text) for row in used.values() for text in row.get("warnings") or []})
    broken = [(seed, rules) for seed, row in sorted(used.items()) if (rules := row.get("audit.broken"))]
    return [
        *caveats,
        *(Caveat(CaveatKind.RECORD_WARNING, text) for text in warnings),
        *(Caveat(CaveatKind.AUDIT, f"audit of seed {seed}: {'; '.join(rules)}") for seed, rules in broken),
    ]


def mixed_values(rows: Sequence[Row]) -> list[str]:
    """One text if values that their common configuration determines are not the same in all rows; else none.

    An option may follow the seed. Then it has another value for every seed.
    """
    names = [
        key
        for key in sorted(set().union(*rows))
        if key.startswith(CONFIG) and key.split(".")[1] not in NOT_DECISIVE and key != "config.seed"
        if 1 < len({repr(row[key]) for row in rows if key in row}) < sum(key in row for row in rows)
    ]
    names += [
        key
        for key in sorted(set().union(*rows))
        if (key in DETERMINED or key.startswith("params."))
        and len({repr(row[key]) for row in rows if row.get(key) is not None}) > 1
    ]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return [f"{', '.join(names[:MOST_NAMES])}{more} not the same for all seeds"] if names else []


def mean_refusal(used: Mapping[int, Row]) -> Refusal | None:
    """Why the counted records have no common mean; None if they have one."""
    if not used:
        return Refusal(RefusalKind.NO_RECORD, "no ok record")
    texts, modes = (len({row[key] for row in used.values()}) for key in ("val_text_sha", "eval_mode"))
    if texts > 1:
        return Refusal(RefusalKind.SEVERAL_TEXTS, f"its seeds were scored on {texts} validation texts")
    if modes > 1:
        return Refusal(RefusalKind.SEVERAL_MODES, f"its seeds were scored in {modes} evaluation modes")
    return None


def differing_keys(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """Configuration keys that differ between groups, each with one value per group (None where a group has none).

    A value that changes with the seed is shown as "the seed", not as a difference. It is detected from two seeds of one
    group. Records without `config.*` are compared by their choices.
    """
    rows = [list({row["seed"]: row for row in g.rows if row["status"] in STATUSES}.values())[:2] for g in groups]
    flat = [row for of_group in rows for row in of_group]
    names = set().union(*flat)
    prefix = CONFIG if any(key.startswith(CONFIG) for key in names) else CHOICES
    differing = {}
    for key in sorted(key for key in names if key.startswith(prefix) and key != "config.seed"):
        column = [row.get(key) for row in flat]
        if column.count(column[0]) == len(column):
            continue
        pairs = [[(row["seed"], row.get(key)) for row in of_group] for of_group in rows]
        follows = follows_seed(pairs)
        values = [value_of(of_group, follows) for of_group in pairs]
        if len({repr(value) for value, of_group in zip(values, rows, strict=True) if of_group}) > 1:
            differing[key.removeprefix(CONFIG)] = values
    return differing


Pairs = Sequence[tuple[int, Any]]  # (seed, value) of the runs of one group


def follows_seed(pairs: Sequence[Pairs]) -> bool:
    """Whether a key's value is its run's seed: in some group of several seeds, or in all runs."""
    in_a_group = any(len({seed for seed, _ in of}) > 1 and all(seed == value for seed, value in of) for of in pairs)
    flat = [pair for of_group in pairs for pair in of_group]
    return in_a_group or (len({seed for seed, _ in flat}) > 1 and all(seed == value for seed, value in flat))


def value_of(pairs: Pairs, follows: bool) -> Any:
    """A group's value of one key. follows: whether the key follows the seed."""
    if not pairs:
        return None
    if follows and all(seed == value for seed, value in pairs):
        return FOLLOWS_SEED
    distinct = {repr(value): value for _, value in pairs}
    return pairs[0][1] if len(distinct) == 1 else "varies with the seed"
