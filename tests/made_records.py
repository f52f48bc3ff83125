"""Synthetic study folders: records, plans and damage to them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from pgolf.records.record import write_record
from pgolf.records.rows import collect
from pgolf.study.description import FamilyPlan, Study, write_study
from pgolf.tables.contrast import Settings
from pgolf.tables.family import ArmRow
from pgolf.tables.methods import PAIRED
from pgolf.tables.table import Tables, tabulate

STUDY = "heads"


def fingerprint_of(arm: str) -> str:
    """A fingerprint for an arm, the same every time."""
    return f"{sum(ord(c) * 31**i for i, c in enumerate(arm)) % 16**8:08x}" * 2


def record(arm: str, seed: int, bpb: float | None, **other: Any) -> dict[str, Any]:
    """An ok record as a run writes it, with nats that follow from bpb. Other fields by keyword, with __ for dots."""
    fields: dict[str, Any] = {
        "status": "ok",
        "error": None,
        "study": STUDY,
        "arm": arm,
        "fingerprint": fingerprint_of(arm),
        "overrides": [f"study.arm={arm}"],
        "choices.model/head": arm,
        "seed": seed,
        "git_sha": "a" * 40,
        "git_dirty": False,
        "code_sha": "c0de",
        "code_files": ["run.py 1111", "loop.py 2222"],
        "data_sha": "da7a",
        "val_text_sha": "7e47" * 16,
        "device": "cpu",
        "params.total": 1000,
        "params.trained": 990,
        "params.frozen": 10,
        "val_bpb": bpb,
        "val_targets": 5000,
        "val_bytes": 11000,
        "eval_mode": "plain64",
        "model_bytes": 400_000,
        "code_bytes": 100_000,
        "cap_bytes": 16_000_000,
        "steps": 100,
        "tokens": 409_600,
        "train_s": 2.0,
        "tokens_per_s": None,
        "qat_from_step": None,
        "quant_gap_bpb": None,
        "val_bpb_live": None,
        "val_bpb_averaged": None,
        "total_bytes": 500_000,
        "under_cap": True,
        "step_ms_median": 20.0,
        "budget.steps": 100,
        "budget.tokens": None,
        "budget.seconds": None,
        "budget.batch_tokens": 4096,
        "warnings": [],
        "ended_at": 1.0,
        "config.model.head.name": arm,
        "config.model.layers": 3,
        "config.data.shuffle_seed": seed,
        "config.seed": seed,
    }
    given = {key.replace("__", "."): value for key, value in other.items()}
    fields |= given
    if any(
        isinstance(fields[key], str) for key in ("total_bytes", "budget.steps", "budget.batch_tokens", "params.total")
    ):
        return fields  # a test puts a text in every field: nothing follows from it
    if fields["budget.steps"] is not None:
        fields["steps"] = given.get("steps", fields["budget.steps"])
    fields["tokens"] = given.get("tokens", fields["steps"] * fields["budget.batch_tokens"])
    fields["code_bytes"] = given.get("code_bytes", fields["total_bytes"] - fields["model_bytes"])
    fields["under_cap"] = given.get("under_cap", fields["total_bytes"] <= fields["cap_bytes"])
    fields["params.trained"] = given.get("params.trained", fields["params.total"] - fields["params.frozen"])
    nats = (
        None
        if fields["val_bpb"] is None
        else fields["val_bpb"] * math.log(2) * fields["val_bytes"] / fields["val_targets"]
    )
    return {"val_nats": nats, **fields}


def failed(arm: str, seed: int, status: str = "failed") -> dict[str, Any]:
    kept = (
        "study",
        "arm",
        "fingerprint",
        "overrides",
        "choices.model/head",
        "seed",
        "git_sha",
        "git_dirty",
        "code_sha",
        "code_files",
    )
    whole = record(arm, seed, None)
    return {k: v for k, v in whole.items() if k in kept or k.startswith("config.")} | {
        "status": status,
        "error": f"{arm} fell over\nbadly",
    }


def cell_folder(arm: str, seed: int) -> str:
    return f"{arm}/seed{seed}-{fingerprint_of(arm)[:8]}"


def put(study: Path, fields: Mapping[str, Any], folder: str | None = None) -> Path:
    """Write a record into its run folder (or another one) of a study's folder."""
    where = study / (folder or f"{fields['arm']}/seed{fields['seed']}-{fields['fingerprint'][:8]}")
    where.mkdir(parents=True, exist_ok=True)
    return write_record(where, fields)


def plan(study: Path, arms: Sequence[str], seeds: Sequence[int], command: str = "sweep") -> None:
    """Plan arms x seeds, seeds first."""
    cells = [
        PlannedRun(study.name, arm, seed, fingerprint_of(arm), cell_folder(arm, seed)) for seed in seeds for arm in arms
    ]
    add_to_plan(study, Sweep((command,), 0.0, "c0de", False, tuple(cells)))


def study_of(root: Path, scores: Mapping[str, Sequence[float]], **other: Any) -> Path:
    """A planned study with an ok record for each score; seeds from 1."""
    study = root / STUDY
    for arm, values in scores.items():
        for seed, bpb in enumerate(values, 1):
            put(study, record(arm, seed, bpb, **other))
    plan(study, list(scores), range(1, max(map(len, scores.values())) + 1))
    return study


def metrics(study: Path, fields: Mapping[str, Any], steps: int = 100, every: int = 5) -> None:
    """A run's metrics.jsonl: both scores fall towards val_bpb_live (or val_bpb) of its record."""
    end = fields.get("val_bpb_live") or fields["val_bpb"]
    lines = []
    for step in range(every, steps + 1, every):
        bpb = end + 2.0 * 0.9 ** (step / every) + 0.01 * (fields["seed"] * step % 3)
        lines.append({"event": "train", "step": step, "tokens": step * 4096, "train_bpb": bpb, "train_nats": 1.5 * bpb})
        if step % (4 * every) == 0 and step < steps:
            lines.append({"event": "val", "step": step, "val_bpb_live": bpb})
    folder = study / cell_folder(fields["arm"], fields["seed"])
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def curved_study(root: Path, scores: Mapping[str, Sequence[float]], **other: Any) -> Path:
    """As study_of, with metrics and a final live score."""
    study = study_of(root, scores, **other)
    for arm, values in scores.items():
        for seed, bpb in enumerate(values, 1):
            fields = record(arm, seed, bpb, **{"steps": 100, "val_bpb_live": bpb - 0.01, **other})
            put(study, fields)
            metrics(study, fields)
    return study


def describe(
    study: Path, families: Mapping[str, Sequence[str]], *, smallest: float = 0.01, test: str = "welch", **other: Any
) -> Study:
    """Write study.json: each family's first arm is its baseline."""
    plans = tuple(FamilyPlan(name, f"the arms of {name}", arms[0], tuple(arms)) for name, arms in families.items())
    description = Study(study.name, "Does it help?", "a pull request", "cpu", test, smallest, plans, **other)
    write_study(study, description)
    return description


def report_of(folder: Path, baseline: str | None = None, **settings: Any) -> Tables:
    if settings.pop("pairs", False):
        settings["test"] = PAIRED
    return tabulate(collect(folder), baseline=baseline, settings=Settings(**settings))


def rows_of(folder: Path, **settings: Any) -> dict[str, ArmRow]:
    return {row.label: row for table in report_of(folder, **settings).families for row in table.rows}


def texts(row: ArmRow) -> str:
    return "; ".join(caveat.text for caveat in row.caveats)


def damage(path: Path, keep: float = 0.5) -> None:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
