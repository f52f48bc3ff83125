"""What differs between two runs: configuration, parameters, bytes, scores, curves, provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgolf.errors import DamagedFile, PgolfError
from pgolf.machine.plain import read_yaml
from pgolf.records.fields import is_number
from pgolf.records.metrics import read_metrics
from pgolf.records.record import RECORD, read_record
from pgolf.tables.comparable import same_part
from pgolf.tables.groups import CONFIG

CURVES = {"train": ("train_bpb", "train_nats"), "val": ("val_bpb_live",)}
PARAMETERS = "params."
BYTES = ("model_bytes", "code_bytes", "total_bytes", "cap_bytes", "under_cap")
SCORES = ("val_bpb", "val_bpb_live", "val_bpb_averaged", "val_nats", "quant_gap_bpb")
COST = ("steps", "tokens", "train_s", "step_ms_median", "tokens_per_s", "peak_mem_bytes", "flops_per_token")
PROVENANCE = (
    "status",
    "seed",
    "fingerprint",
    "from.fingerprint",
    "git_sha",
    "git_dirty",
    "code_sha",
    "data_sha",
    "val_text_sha",
    "eval_mode",
)
MACHINE = ("device", "threads", "precision", "compile", "nproc")

ABSENT = "(absent)"

Flat = dict[str, Any]
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Side:
    """One run. config: flattened, dotted; metrics: events by kind; warnings: what its folder lacks or has damaged."""

    folder: Path
    record: Flat
    config: Flat
    metrics: dict[str, list[Flat]]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """One quantity of both runs at equal `axis` (step or tokens): (where, value of A, value of B)."""

    name: str
    axis: str
    points: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Differences:
    """Each entry is (value of A, value of B). notes: what forbids or limits a comparison, first to be read.

    incomparable: the scores of which no difference may be made.
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
    """A run from its folder, or from its result.json. Raises PgolfError where there is no run, or a damaged one."""
    folder = path.parent if path.name == RECORD else path
    if not folder.is_dir():
        raise PgolfError(f"{path}: is no run folder. Give the folder that holds a run's {RECORD}")
    record = read_record(folder) or {}
    warnings = [] if record else [f"{folder}: has no {RECORD}: the run did not finish"]
    config = {key.removeprefix(CONFIG): value for key, value in record.items() if key.startswith(CONFIG)}
    if not config and (folder / "config.yaml").exists():
        resolved = read_yaml(folder / "config.yaml")
        if not isinstance(resolved, dict):
            raise DamagedFile(folder / "config.yaml", "is not a configuration", "Give another run")
        config = flatten({key: value for key, value in resolved.items() if key not in ("run", "paths", "launch")})
    metrics, said = metrics_by_kind(folder)
    if not record and not config:
        raise PgolfError(
            f"{folder}: holds neither {RECORD} nor config.yaml. Give the folder of one run, not of a study"
        )
    return Side(folder, record, config, metrics, (*warnings, *said))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Flat:
    """Dotted keys; lists stay lists, an empty section is an empty mapping."""
    flat: Flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def metrics_by_kind(folder: Path) -> tuple[dict[str, list[Flat]], list[str]]:
    """Events of a run by kind, and a line about what is missing or damaged."""
    events: dict[str, list[Flat]] = {}
    sound, problems = read_metrics(folder)
    for event in sound:
        events.setdefault(event["event"], []).append(event)
    return events, problems


def differences(a: Side, b: Side) -> Differences:
    """What differs; parameters, bytes, scores and cost stand whether they differ or not."""
    batch = tuple(batch_tokens(side) for side in (a, b))
    axis = "step" if batch[0] == batch[1] else "tokens"
    said, incomparable = score_notes(a, b)
    notes = [*a.warnings, *b.warnings, *said]
    if axis == "tokens":
        notes.append(f"batches of {batch[0]} and {batch[1]} tokens: curves are compared at equal tokens, not steps")
    if a.record.get("fingerprint") and all(a.record.get(key) == b.record.get(key) for key in ("fingerprint", "seed")):
        notes.append("one configuration and seed: what differs comes from code, data or machine")
    wanted = [(kind, name) for kind, names in CURVES.items() for name in names if name not in incomparable]
    curves = tuple(curve for kind, name in wanted if (curve := curve_of(a, b, kind, name, axis)).points)
    if not curves:
        notes.append(f"no {axis} at which both runs have a metric that compares: no curve")
    keys = dict.fromkeys([*a.record, *b.record])
    return Differences(
        tuple(notes),
        {key: pair for key, pair in config_pairs(a, b).items() if pair[0] != pair[1]},
        both(a, b, [key for key in keys if key.startswith(PARAMETERS)]),
        both(a, b, BYTES),
        both(a, b, SCORES),
        tuple(sorted(incomparable)),
        both(a, b, COST),
        {
            k: v
            for k, v in both(a, b, [*PROVENANCE, *(k for k in keys if k.startswith("versions.")), *MACHINE]).items()
            if v[0] != v[1]
        },
        curves,
    )


def config_pairs(a: Side, b: Side) -> dict[str, Pair]:
    return {key: (a.config.get(key, ABSENT), b.config.get(key, ABSENT)) for key in sorted({*a.config, *b.config})}


def both(a: Side, b: Side, keys: Any) -> dict[str, Pair]:
    """Both runs' values of the record's fields that either has."""
    return {key: (a.record.get(key), b.record.get(key)) for key in keys if key in a.record or key in b.record}


def score_notes(a: Side, b: Side) -> tuple[list[str], set[str]]:
    """Why the scores of two runs cannot be compared, or only in bits per byte, and the names of those metrics."""
    ended = [
        f"{side.folder}: {side.record['status']}, {side.record.get('error')}"
        for side in (a, b)
        if side.record.get("status", "ok") != "ok"
    ]
    if ended or not (a.record and b.record):  # without both records the configuration has to tell
        other = [
            key
            for key, (x, y) in config_pairs(a, b).items()
            if key.startswith(("eval.", "data.")) and x != y and key != "data.shuffle_seed"
        ]
        told = [f"{', '.join(other)} differ: scores are not compared"] if other else []
        return [*ended, *told], {*SCORES, "train_nats"} if other else set()
    notes = [
        f"scored in other {what} ({a.record.get(key)}, {b.record.get(key)}): scores are not compared"
        for key, what in (("eval_mode", "evaluation modes"), ("val_text_sha", "validation texts"))
        if a.record.get(key) != b.record.get(key)
    ]
    targets, sizes = ([side.record.get(key) for side in (a, b)] for key in ("val_targets", "val_bytes"))
    if notes:
        return notes, {*SCORES, "train_nats"}
    if not same_part(*sizes):
        return [
            f"other parts of the validation text scored ({sizes[0]} and {sizes[1]} bytes): scores are not compared"
        ], {
            *SCORES,
            "train_nats",
        }
    if targets[0] != targets[1] or sizes[0] != sizes[1]:
        return ["other targets or bytes scored (another tokenizer): bpb is compared, nats are not"], {
            "val_nats",
            "train_nats",
        }
    return [], set()


def batch_tokens(side: Side) -> Any:
    return side.record.get("budget.batch_tokens", side.config.get("train.batch_tokens"))


def curve_of(a: Side, b: Side, kind: str, name: str, axis: str) -> Curve:
    """The points that both runs have, exactly: nothing is interpolated."""
    found = []
    for side in (a, b):
        points: dict[int, float] = {}
        for event in side.metrics.get(kind, []):
            at = event.get(axis)
            if at is None and is_number(event.get("step")) and is_number(batch_tokens(side)):
                at = event["step"] * batch_tokens(side)
            if isinstance(at, int) and is_number(event.get(name)):
                points[at] = float(event[name])
        found.append(points)
    common = sorted(found[0].keys() & found[1].keys())
    return Curve(name, axis, tuple((at, found[0][at], found[1][at]) for at in common))
