"""What runs scored on the way, from their metrics.jsonl: curves for pictures, one JSON line a run."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pgolf.errors import PgolfError, misshapen
from pgolf.groups import Group
from pgolf.results import METRICS
from pgolf.soundness import is_number

DIGITS = 5  # of a score in a picture


@dataclass(frozen=True)
class Curve:
    """One run: trained tokens with training bits per byte of the step, and steps with live validation bits per byte.

    train_lr_scale: the schedule's learning-rate scale at each training point; empty where it was not kept.
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


def read_curve(run: Path, row: Mapping[str, Any]) -> Curve | None:
    """The curve of one run, with its final live score as the last point; None where there are no metrics."""
    try:
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # a line that is being written
            continue
        if isinstance(event, dict):
            events.append(event)
    train = [e for e in events if e.get("event") == "train" and has(e, "step", "tokens", "train_bpb", "train_nats")]
    val = [(e["step"], e["val_bpb_live"]) for e in events if e.get("event") == "val" and has(e, "step", "val_bpb_live")]
    val += [(row["steps"], row["val_bpb_live"])] if row.get("val_bpb_live") is not None else []
    return Curve(
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


def has(event: Mapping[str, Any], *keys: str) -> bool:
    """Whether an event holds numbers under these names."""
    return all(is_number(event.get(key)) for key in keys)


def read_curves(root: Path, rows: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """Curves of the scored runs below a folder; rows as `collect` gives them, `folder` relative to root."""
    found = [read_curve(root / row["folder"], row) for row in rows if row["status"] == "ok" and row.get("folder")]
    return [curve for curve in found if curve is not None]


Found = Mapping[tuple[str, str, int], Curve]  # (study, fingerprint, seed) -> its curve


def curves_of(curves: Sequence[Curve]) -> Found:
    """Curves by what identifies a run; of copies the first."""
    found: dict[tuple[str, str, int], Curve] = {}
    for curve in curves:
        found.setdefault((curve.study, curve.fingerprint, curve.seed), curve)
    return found


def of_group(group: Group, curves: Found) -> list[Curve]:
    """The curves of a group's counted seeds, by seed; those that have none left out."""
    return [curve for seed in sorted(group.used) if (curve := curves.get((group.study, group.fingerprint, seed)))]


def curve_lines(curves: Sequence[Curve]) -> list[str]:
    return [json.dumps(asdict(curve)) + "\n" for curve in curves]


def check_curve(curve: Curve) -> None:
    """Raises ValueError for lists that do not go together."""
    train = [curve.train_steps, curve.train_tokens, curve.train_bpb, curve.train_nats]
    train += [curve.train_lr_scale] if curve.train_lr_scale else []
    for what, lists in (("train", train), ("val", (curve.val_steps, curve.val_bpb_live))):
        if len({len(values) for values in lists}) > 1:
            raise ValueError(f"{what} lists of {curve.arm} seed {curve.seed} have unequal lengths")
        if not all(is_number(value) for values in lists for value in values):
            raise ValueError(f"{what} lists of {curve.arm} seed {curve.seed} hold more than numbers")


def load_curves(path: Path) -> list[Curve]:
    """Curves from a file that `curve_lines` made; none where there is no file. Raises PgolfError for a damaged one."""
    if not path.exists():
        return []
    try:
        made: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for curve in made:
            curve |= {key: tuple(value) for key, value in curve.items() if isinstance(value, list)}
        curves = [Curve(**curve) for curve in made]
        for one in curves:
            check_curve(one)
        return curves
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PgolfError(
            f"{path}: holds no curves ({misshapen(error)}). Move it away, or make it anew with pgolf.aggregate --curves"
        ) from None
