"""Contradictions within a record: fields that follow from other fields by construction (see
`pgolf.execution.record.fields_of`) and do not have the value that follows.

A relation is checked only if the record has all its fields. Every field must have been found to be of its kind before.
A wrong fingerprint or score cannot be detected from the record alone: other modules compare it with the run folder and
with the other seeds of the arm.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pgolf.records.arm_names import folder_of_arm, name_of_overrides, simple_overrides

# A record holds scores as full doubles, so these relations are exact to about 16 digits. 1e-9 allows for a program that
# writes ten digits. It is a millionth of the smallest difference that matters.
TOLERANCE = 1e-9
WHOLE_PARAMS = ("params.total", "params.trained", "params.frozen")
SAME_VALUE = (  # pairs of fields with one meaning
    *((f"budget.{key}", f"config.train.{key}") for key in ("steps", "tokens", "seconds", "batch_tokens", "seq_len")),
    *((key, f"config.train.{key}") for key in ("threads", "precision", "compile")),
    ("seed", "config.seed"),
)
RUN_NAME = re.compile(r"seed([0-9]{1,20})-([0-9a-f]{8})")
NUMBER_TEXT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
LARGEST_FLOAT = 1e300  # a larger integer does not fit a float

Record = Mapping[str, Any]


def contradiction_of(record: Record) -> str | None:
    """The first contradiction between fields of a record, with their values; None without one."""
    checks = (names, copies_of_settings, settings_by_override)
    measured = (scores, sizes, amounts_of_training) if record["status"] == "ok" else ()
    return next((problem for check in (*checks, *measured) for problem in check(record)), None)


def has(record: Record, *keys: str) -> bool:
    return all(record.get(key) is not None for key in keys)


def is_near(a: float, b: float, size: float) -> bool:
    """Whether two numbers are equal up to the rounding error of numbers of this size."""
    return abs(a - b) <= TOLERANCE * abs(size)


def names(record: Record) -> Iterator[str]:
    """Contradictions of the arm's name with its choices and overrides, and of the run folder's name with seed,
    fingerprint and arms.
    """
    arm = arm_of(record)
    if arm is not None and arm != record["arm"]:
        yield f"arm is {record['arm']}, its choices and overrides make it {arm}"
    *parents, last = str(record.get("folder") or "").split("/")
    if (match := RUN_NAME.fullmatch(last)) is None:
        return
    if int(match[1]) != record["seed"]:
        yield f"seed is {record['seed']}, its folder is of seed {int(match[1])}"
    if not record["fingerprint"].startswith(match[2]):
        yield f"fingerprint is {record['fingerprint']}, its folder is of {match[2]}"
    # Cells with the same resolved configuration share the folder of the first.
    arms = {record["arm"], *(place[0] for place in record.get("planned") or ())}
    if record.get("planned") and parents and parents[-1] not in arms | {folder_of_arm(str(arm)) for arm in arms}:
        yield f"arm is {record['arm']}, its folder is of {parents[-1]}"


def arm_of(record: Record) -> str | None:
    """The arm's name as its study's file, or else its overrides, give it. None where the overrides cannot be read."""
    overrides = None if record.get("overrides") is None else simple_overrides(record["overrides"])
    if overrides is None:
        return str(record["choices.arm"]).split("/")[-1] if isinstance(record.get("choices.arm"), str) else None
    values = {key: value for key, _, value in overrides}
    if "study.arm" in values:
        return record["arm"] if values["study.arm"] == record["arm"] else values["study.arm"].strip("'\"")
    choice = record.get("choices.arm") or values.get("arm")
    return str(choice).split("/")[-1] if choice not in (None, "null") else name_of_overrides(overrides)


def copies_of_settings(record: Record) -> Iterator[str]:
    """Contradictions between fields with one meaning."""
    for key, other in SAME_VALUE:
        if key in record and other in record and record[key] != record[other]:
            yield f"{key} is {record[key]!r}, {other} is {record[other]!r}"
    if has(record, "device", "config.device") and (record["device"] == "cpu") != (record["config.device"] == "cpu"):
        yield f"device is {record['device']}, config.device is {record['config.device']}"


def settings_by_override(record: Record) -> Iterator[str]:
    """Contradictions of overrides of the seed, of numbers and of choices with the configuration in the record."""
    parts = simple_overrides(record.get("overrides") or []) or []
    keys = [key for key, _, _ in parts]
    for key, package, text in parts:
        if package or keys.count(key) > 1:
            continue
        field = "seed" if key == "seed" else f"config.{key}"
        value = record.get(field)
        if (
            isinstance(value, int | float)
            and abs(value) < LARGEST_FLOAT
            and NUMBER_TEXT.fullmatch(text)
            and float(text) != float(value)
        ):
            yield f"{field} is {value!r}, an override says {key}={text}"
        choice = record.get(f"choices.{key}")
        if isinstance(choice, str) and re.fullmatch(r"[\w/]+", text) and text != choice:
            yield f"choices.{key} is {choice}, an override says {key}={text}"


def scores(record: Record) -> Iterator[str]:
    """Contradictions between scores: bpb = nats per target x targets / (ln 2 x bytes), and the cost of packing = packed
    score - averaged score (- live score without an average).
    """
    if not 0 <= (record.get("val_bpb") or 0) < math.inf:
        return  # no score, which is reported elsewhere
    if has(record, "val_bpb", "val_nats", "val_targets", "val_bytes"):
        bits, size = record["val_nats"] * record["val_targets"] / math.log(2), record["val_bytes"]
        if not size:
            yield "val_bytes is 0 beside a score"
        elif not is_near(record["val_bpb"], bits / size, bits / size):
            yield f"val_bpb is {record['val_bpb']!r}, val_nats, val_targets and val_bytes make it {bits / size!r}"
    before = "val_bpb_averaged" if record.get("val_bpb_averaged") is not None else "val_bpb_live"
    if has(record, "quant_gap_bpb", "val_bpb", before):
        gap = record["val_bpb"] - record[before]
        if not is_near(record["quant_gap_bpb"], gap, max(abs(record["val_bpb"]), abs(record[before]))):
            yield f"quant_gap_bpb is {record['quant_gap_bpb']!r}, val_bpb - {before} is {gap!r}"
    if has(record, "documents", "documents_cut") and record["documents_cut"] > min(2, record["documents"]):
        yield f"documents_cut is {record['documents_cut']}, documents is {record['documents']}"
    limit = record.get("config.eval.max_targets")
    if has(record, "val_targets") and isinstance(limit, int) and record["val_targets"] > limit:
        yield f"val_targets is {record['val_targets']}, config.eval.max_targets is {limit}"


def sizes(record: Record) -> Iterator[str]:
    """Contradictions of bytes and parameters with the sums of their parts, and of under_cap with the cap."""
    if has(record, "total_bytes", "model_bytes", "code_bytes"):
        parts = record["model_bytes"] + record["code_bytes"]
        if record["total_bytes"] != parts:
            yield f"total_bytes is {record['total_bytes']}, model_bytes + code_bytes is {parts}"
    if has(record, "under_cap", "total_bytes", "cap_bytes") and record["under_cap"] != (
        record["total_bytes"] <= record["cap_bytes"]
    ):
        yield (
            f"under_cap is {record['under_cap']}, total_bytes is {record['total_bytes']} and cap_bytes "
            f"{record['cap_bytes']}"
        )
    if has(record, *WHOLE_PARAMS):
        total, trained, frozen = (record[key] for key in WHOLE_PARAMS)
        if total != trained + frozen:
            yield f"params.total is {total}, params.trained + params.frozen is {trained + frozen}"
        slots = [
            value
            for key, value in record.items()
            if key.startswith("params.") and key not in WHOLE_PARAMS and value is not None
        ]
        if slots and sum(slots) != total:
            yield f"params.total is {total}, the parts of the model add up to {sum(slots)}"


def amounts_of_training(record: Record) -> Iterator[str]:
    """Contradictions of steps, tokens and speed with the budget and the batch size."""
    steps, batch, budget = (record.get(key) for key in ("steps", "budget.batch_tokens", "budget.steps"))
    if steps is not None:
        if budget is not None and steps != budget:
            yield f"steps is {steps}, budget.steps is {budget}"
        if budget is None and batch and record.get("budget.tokens") is not None:
            planned = max(1, record["budget.tokens"] // batch)
            if steps != planned:
                yield f"steps is {steps}, budget.tokens and budget.batch_tokens make it {planned}"
        if (record.get("qat_from_step") or 0) > steps:
            yield f"qat_from_step is {record['qat_from_step']}, steps is {steps}"
        if batch is not None and record.get("tokens") not in (None, steps * batch):
            yield f"tokens is {record['tokens']}, steps x budget.batch_tokens is {steps * batch}"
    if has(record, "tokens", "train_s", "tokens_per_s") and record["train_s"]:
        speed = record["tokens"] / record["train_s"]
        if not is_near(record["tokens_per_s"], speed, speed):
            yield f"tokens_per_s is {record['tokens_per_s']!r}, tokens / train_s is {speed!r}"
