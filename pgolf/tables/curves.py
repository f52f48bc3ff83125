"""Scores during training, from metrics.jsonl: one curve per run, stored as one JSON line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pgolf.machine.files import is_inside
from pgolf.machine.plain import read_lines
from pgolf.machine.typed import typed
from pgolf.records.kinds import is_number
from pgolf.records.metrics import METRICS, read_metrics
from pgolf.tables.groups import Group

CURVES = "curves.jsonl"  # beside the rows of runs
DIGITS = 5  # of a score in a picture
MAX_CURVES_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Curve:
    """The curves of one run: training bits per byte by step and trained tokens, live validation bits per byte by step.

    train_lr_scale: the schedule's learning-rate scale at each training point; empty if it was not recorded.
    """

    study: str
    arm: str
    seed: int
    fingerprint: str
    train_steps: tuple[int, ...]
    train_tokens: tuple[int, ...]
    train_bpb: tuple[float, ...]
    train_nats: tuple[float, ...]
    val_steps: tuple[int, ...]
    val_bpb_live: tuple[float, ...]
    train_lr_scale: tuple[float, ...] = ()


def read_curve(run: Path, row: Mapping[str, Any]) -> tuple[Curve | None, list[str]]:
    """The curve of one run, with its final live score as the last point, and error messages.

    None without metrics, and for damaged metrics.
    """
    if not (run / METRICS).exists():
        return None, []
    events, problems = read_metrics(run)
    if problems:
        return None, [f"{problem}. Its curve is left out" for problem in problems]
    train = [e for e in events if e.get("event") == "train" and has(e, "step", "tokens", "train_bpb", "train_nats")]
    val = [(e["step"], e["val_bpb_live"]) for e in events if e.get("event") == "val" and has(e, "step", "val_bpb_live")]
    val += [(row["steps"], row["val_bpb_live"])] if has(row, "steps", "val_bpb_live") else []
    curve = Curve(
        row["study"],
        row["arm"],
        row["seed"],
        row["fingerprint"],
        tuple(e["step"] for e in train),
        tuple(e["tokens"] for e in train),
        tuple(round(e["train_bpb"], DIGITS) for e in train),
        tuple(round(e["train_nats"], DIGITS) for e in train),
        tuple(step for step, _ in val),
        tuple(round(bpb, DIGITS) for _, bpb in val),
        tuple(round(e["lr_scale"], DIGITS) for e in train) if all(has(e, "lr_scale") for e in train) else (),
    )
    return curve, []


def has(event: Mapping[str, Any], *keys: str) -> bool:
    """Whether an event has numbers under these names."""
    return all(is_number(event.get(key)) for key in keys)


def read_curves(root: Path, rows: Iterable[Mapping[str, Any]]) -> tuple[list[Curve], list[str]]:
    """The curves of the ok runs below a folder, and one warning per run whose curve is left out.

    rows: from `collect`, with `folder` relative to root.
    """
    curves, warnings = [], []
    for row in rows:
        if row["status"] == "ok" and (row["folder"] == "." or is_inside(row["folder"])):
            curve, problems = read_curve(root / row["folder"], row)
            curves += [] if curve is None else [curve]
            warnings += problems
    return curves, warnings


def consistent(curves: Sequence[Curve], rows: Iterable[Mapping[str, Any]]) -> tuple[list[Curve], list[str]]:
    """The curves that end at the live score of their run's record, and a warning about each other one."""
    ends = {
        (row["study"], row["fingerprint"], row["seed"]): (row["steps"], row["val_bpb_live"])
        for row in rows
        if row["status"] == "ok" and has(row, "steps", "val_bpb_live")
    }
    kept, warnings = [], []
    for curve in curves:
        steps, live = ends.get((curve.study, curve.fingerprint, curve.seed), (None, None))
        last = dict(zip(curve.val_steps, curve.val_bpb_live, strict=True)).get(steps) if steps is not None else None
        if live is not None and last is not None and abs(last - live) > 10**-DIGITS:
            warnings.append(
                f"the curve of {curve.arm} seed {curve.seed} ends at {last} bpb, its record says {live}: it is left out"
            )
        else:
            kept.append(curve)
    return kept, warnings


CurveByRun = Mapping[tuple[str, str, int], Curve]  # (study, fingerprint, seed) -> its curve


def curves_of(curves: Sequence[Curve]) -> CurveByRun:
    """Curves by the identity of their run. Of several curves of one run the first is taken."""
    by_run: dict[tuple[str, str, int], Curve] = {}
    for curve in curves:
        by_run.setdefault((curve.study, curve.fingerprint, curve.seed), curve)
    return by_run


def of_group(group: Group, curves: CurveByRun) -> list[Curve]:
    """The curves of a group's counted seeds, by seed. Seeds without a curve are left out."""
    return [curve for seed in sorted(group.used) if (curve := curves.get((group.study, group.fingerprint, seed)))]


def curve_lines(curves: Sequence[Curve]) -> list[str]:
    return [json.dumps(asdict(curve)) + "\n" for curve in curves]


def load_curves(path: Path) -> tuple[list[Curve], list[str]]:
    """Curves from a file that `curve_lines` wrote, and at most one warning about damaged lines. Both are empty without
    a file.
    """
    return read_lines(path, curve_of, what="curves", most_bytes=MAX_CURVES_BYTES)


def curve_of(value: Any) -> Curve:
    """The curve on one line. Raises ValueError, also if lists that belong together have unequal lengths."""
    curve = typed(Curve, value)
    train = [curve.train_steps, curve.train_tokens, curve.train_bpb, curve.train_nats]
    train += [curve.train_lr_scale] if curve.train_lr_scale else []
    for part, lists in (("train", train), ("val", (curve.val_steps, curve.val_bpb_live))):
        if len({len(values) for values in lists}) > 1:
            raise ValueError(f"{part} lists of {curve.arm} seed {curve.seed} have unequal lengths")
    return curve
