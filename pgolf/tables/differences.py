"""The differences between two runs: configuration, parameters, bytes, scores, curves and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pgolf.errors import DamagedFile, PgolfError
from pgolf.machine.plain import read_yaml
from pgolf.records.fields import BYTES, COST, FIELDS, PARAMETERS, PROVENANCE, SCORES, compare_keys
from pgolf.records.kinds import is_number
from pgolf.records.metrics import read_metrics
from pgolf.records.record import RECORD, read_record
from pgolf.tables.comparable import same_part
from pgolf.tables.groups import CONFIG

CURVES = {"train": ("train_bpb", "train_nats"), "val": ("val_bpb_live",)}
WITHOUT_EFFECT = ("run", "paths", "launch", "tracker")  # sections of config.yaml that are not compared
SCORE_NAMES = tuple(compare_keys(FIELDS, SCORES))


class Absence(Enum):
    """The value of a configuration key that a run does not have."""

    ABSENT = "(absent)"


Flat = dict[str, Any]
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Side:
    """One run. config: dotted keys. metrics: events by kind. warnings: missing or damaged files of its folder."""

    folder: Path
    record: Flat
    config: Flat
    metrics: dict[str, list[Flat]]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """One quantity of both runs at equal values of `axis` (step or tokens): (position, value of A, value of B)."""

    name: str
    axis: str
    points: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Differences:
    """Each entry is (value of A, value of B).

    notes: what forbids or limits the comparison; to be read first. incomparable: scores without a difference.
    """

    notes: tuple[str, ...]
    config: dict[str, Pair]
    parameters: dict[str, Pair]
    bytes: dict[str, Pair]
    scores: dict[str, Pair]
    incomparable: tuple[str, ...]
    cost: dict[str, Pair]
    provenance: dict[str, Pair]
    curves: tuple[Curve, ...]


def read_side(path: Path) -> Side:
    """A run, read from its folder or its result.json. Raises PgolfError if there is no run or a damaged one."""
    folder = path.parent if path.name == RECORD else path
    if not folder.is_dir():
        raise PgolfError(f"{path}: is not a run folder. Give the folder that has a run's {RECORD}")
    record = read_record(folder) or {}
    warnings = [] if record else [f"{folder}: has no {RECORD}: the run did not finish"]
    config = {key.removeprefix(CONFIG): value for key, value in record.items() if key.startswith(CONFIG)}
    if not config and (folder / "config.yaml").exists():
        resolved = read_yaml(folder / "config.yaml")
        if not isinstance(resolved, dict):
            raise DamagedFile(folder / "config.yaml", "is not a configuration", "Give another run")
        config = flatten({key: value for key, value in resolved.items() if key not in WITHOUT_EFFECT})
    metrics, problems = metrics_by_kind(folder)
    if not record and not config:
        raise PgolfError(f"{folder}: has neither {RECORD} nor config.yaml. Give the folder of one run, not of a study")
    return Side(folder, record, config, metrics, (*warnings, *problems))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Flat:
    """A nested mapping with dotted keys. Lists stay lists; an empty section stays an empty mapping."""
    flat: Flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def metrics_by_kind(folder: Path) -> tuple[dict[str, list[Flat]], list[str]]:
    """The events of a run by kind, and error messages."""
    events: dict[str, list[Flat]] = {}
    valid, problems = read_metrics(folder)
    for event in valid:
        events.setdefault(event["event"], []).append(event)
    return events, problems


def differences(a: Side, b: Side) -> Differences:
    """The differences of two runs. Parameters, bytes, scores and cost are included even if they are equal."""
    batch = tuple(batch_tokens(side) for side in (a, b))
    axis = "step" if batch[0] == batch[1] else "tokens"
    limits, incomparable = score_notes(a, b)
    notes = [*a.warnings, *b.warnings, *limits]
    if axis == "tokens":
        notes.append(f"batches of {batch[0]} and {batch[1]} tokens: curves are compared at equal tokens, not steps")
    if a.record.get("fingerprint") and all(a.record.get(key) == b.record.get(key) for key in ("fingerprint", "seed")):
        notes.append("same configuration and seed: any difference comes from code, data or machine")
    quantities = [(kind, name) for kind, names in CURVES.items() for name in names if name not in incomparable]
    curves = tuple(curve for kind, name in quantities if (curve := curve_of(a, b, kind, name, axis)).points)
    if not curves:
        notes.append(f"no {axis} at which both runs have a comparable metric: no curve")
    keys = dict.fromkeys([*a.record, *b.record])

    def section(name: str) -> dict[str, Pair]:
        return {key: (a.record.get(key), b.record.get(key)) for key in compare_keys(keys, name)}

    return Differences(
        tuple(notes),
        {key: pair for key, pair in config_pairs(a, b).items() if pair[0] != pair[1]},
        section(PARAMETERS),
        section(BYTES),
        section(SCORES),
        tuple(sorted(incomparable)),
        section(COST),
        {key: pair for key, pair in section(PROVENANCE).items() if pair[0] != pair[1]},
        curves,
    )


def config_pairs(a: Side, b: Side) -> dict[str, Pair]:
    return {
        key: (a.config.get(key, Absence.ABSENT), b.config.get(key, Absence.ABSENT))
        for key in sorted({*a.config, *b.config})
    }


def score_notes(a: Side, b: Side) -> tuple[list[str], set[str]]:
    """Notes on scores that cannot be compared, and the names of those scores."""
    failures = [
        f"{side.folder}: {side.record['status']}, {side.record.get('error')}"
        for side in (a, b)
        if side.record.get("status", "ok") != "ok"
    ]
    if failures or not (a.record and b.record):  # without both records the configurations decide
        other = [
            key
            for key, (x, y) in config_pairs(a, b).items()
            if key.startswith(("eval.", "data.")) and x != y and key != "data.shuffle_seed"
        ]
        notes = [f"{', '.join(other)} differ: scores are not compared"] if other else []
        return [*failures, *notes], {*SCORE_NAMES, "train_nats"} if other else set()
    notes = [
        f"different {noun} ({a.record.get(key)}, {b.record.get(key)}): scores are not compared"
        for key, noun in (("eval_mode", "evaluation modes"), ("val_text_sha", "validation texts"))
        if a.record.get(key) != b.record.get(key)
    ]
    targets, sizes = ([side.record.get(key) for side in (a, b)] for key in ("val_targets", "val_bytes"))
    if notes:
        return notes, {*SCORE_NAMES, "train_nats"}
    if not same_part(*sizes):
        note = f"different parts of the validation text ({sizes[0]} and {sizes[1]} bytes): scores are not compared"
        return [note], {*SCORE_NAMES, "train_nats"}
    if targets[0] != targets[1] or sizes[0] != sizes[1]:
        note = "different targets or bytes scored (another tokenizer): bpb is compared, nats are not"
        return [note], {"val_nats", "train_nats"}
    return [], set()


def batch_tokens(side: Side) -> Any:
    return side.record.get("budget.batch_tokens", side.config.get("train.batch_tokens"))


def curve_of(a: Side, b: Side, kind: str, name: str, axis: str) -> Curve:
    """The points that both runs have. Nothing is interpolated."""
    sides = []
    for side in (a, b):
        points: dict[int, float] = {}
        for event in side.metrics.get(kind, []):
            at = event.get(axis)
            if at is None and is_number(event.get("step")) and is_number(batch_tokens(side)):
                at = event["step"] * batch_tokens(side)
            if isinstance(at, int) and is_number(event.get(name)):
                points[at] = float(event[name])
        sides.append(points)
    common = sorted(sides[0].keys() & sides[1].keys())
    return Curve(name, axis, tuple((at, sides[0][at], sides[1][at]) for at in common))
