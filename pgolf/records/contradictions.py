"""A record held against itself: fields that follow from other fields by construction, as `pgolf.run.finish.fields_of`
makes them.

Each relation is checked where the record has all its fields, and after every field has been found to be of its kind.
What a record cannot tell by itself (its fingerprint, its scores) is left to the folder that it lies in and to the other
seeds of its arm.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pgolf.records.arm_names import name_of_overrides, simple_overrides

# Scores are doubles that a record holds whole, so that these relations come out within a few units of the sixteenth
# digit. 1e-9 leaves room for a program that writes ten digits, and is a millionth of the smallest difference that
# matters.
TOLERANCE = 1e-9
WHOLE_PARAMS = ("params.total", "params.trained", "params.frozen")
TWICE = (  # fields that a record holds under two names
    *((f"budget.{key}", f"config.train.{key}") for key in ("steps", "tokens", "seconds", "batch_tokens", "seq_len")),
    *((key, f"config.train.{key}") for key in ("threads", "precision", "compile")),
    ("seed", "config.seed"),
)
RUN_NAME = re.compile(r"seed([0-9]{1,20})-([0-9a-f]{8})")
A_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
LONGEST_NUMBER = 1e300  # a whole number beyond does not fit a float

Record = Mapping[str, Any]


def contradiction_of(record: Record) -> str | None:
    """The first contradiction between a record's fields, with their values; None where there is none."""
    checks = (names, copies_of_settings, overridden)
    measured = (scores, sizes, amounts_of_training) if record["status"] == "ok" else ()
    return next((said for check in (*checks, *measured) for said in check(record)), None)


def has(record: Record, *keys: str) -> bool:
    return all(record.get(key) is not None for key in keys)


def is_near(a: float, b: float, size: float) -> bool:
    """Whether two numbers are equal as far as rounding of numbers of that size allows."""
    return abs(a - b) <= TOLERANCE * abs(size)


def names(record: Record) -> Iterator[str]:
    """The arm against the choices and overrides that make its name, and the folder of the run against seed,
    configuration and arms.
    """
    wanted = arm_of(record)
    if wanted is not None and wanted != record["arm"]:
        yield f"arm is {record['arm']}, its choices and overrides make it {wanted}"
    *parents, last = str(record.get("folder") or "").split("/")
    if (found := RUN_NAME.fullmatch(last)) is None:
        return
    if int(found[1]) != record["seed"]:
        yield f"seed is {record['seed']}, its folder is of seed {int(found[1])}"
    if not record["fingerprint"].startswith(found[2]):
        yield f"fingerprint is {record['fingerprint']}, its folder is of {found[2]}"
    # Cells that resolve alike share the first one's folder.
    arms = {record["arm"], *(place[0] for place in record.get("planned") or ())}
    if record.get("planned") and parents and parents[-1] not in arms:
        yield f"arm is {record['arm']}, its folder is of {parents[-1]}"


def arm_of(record: Record) -> str | None:
    """The name that the configuration gives the arm: of its study's file, else of the overrides. None where that cannot
    be told.
    """
    overrides = None if record.get("overrides") is None else simple_overrides(record["overrides"])
    if overrides is None:  # its choice tells enough
        return str(record["choices.arm"]).split("/")[-1] if isinstance(record.get("choices.arm"), str) else None
    given = {key: value for key, _, value in overrides}
    if "study.arm" in given:
        return record["arm"] if given["study.arm"] == record["arm"] else given["study.arm"].strip("'\"")
    chosen = record.get("choices.arm") or given.get("arm")
    return str(chosen).split("/")[-1] if chosen not in (None, "null") else name_of_overrides(overrides)


def copies_of_settings(record: Record) -> Iterator[str]:
    """Fields that say the same thing twice."""
    for key, other in TWICE:
        if key in record and other in record and record[key] != record[other]:
            yield f"{key} is {record[key]!r}, {other} is {record[other]!r}"
    if has(record, "device", "config.device") and (record["device"] == "cpu") != (record["config.device"] == "cpu"):
        yield f"device is {record['device']}, config.device is {record['config.device']}"


def overridden(record: Record) -> Iterator[str]:
    """Overrides of the seed, of a number and of a choice against what the configuration then holds."""
    found = simple_overrides(record.get("overrides") or []) or []
    keys = [key for key, _, _ in found]
    for key, package, value in found:
        if package or keys.count(key) > 1:
            continue
        at = "seed" if key == "seed" else f"config.{key}"
        held = record.get(at)
        if (
            isinstance(held, int | float)
            and abs(held) < LONGEST_NUMBER
            and A_NUMBER.fullmatch(value)
            and float(value) != float(held)
        ):
            yield f"{at} is {held!r}, an override says {key}={value}"
        choice = record.get(f"choices.{key}")
        if isinstance(choice, str) and re.fullmatch(r"[\w/]+", value) and value != choice:
            yield f"choices.{key} is {choice}, an override says {key}={value}"


def scores(record: Record) -> Iterator[str]:
    """bpb = nats per target x targets / (ln 2 x bytes); packing = packed - averaged score, or - live score without an
    average.
    """
    if not 0 <= (record.get("val_bpb") or 0) < math.inf:
        return  # no score, which is said elsewhere
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
    most = record.get("config.eval.max_targets")
    if has(record, "val_targets") and isinstance(most, int) and record["val_targets"] > most:
        yield f"val_targets is {record['val_targets']}, config.eval.max_targets is {most}"


def sizes(record: Record) -> Iterator[str]:
    """Bytes and parameters against their parts, and the bytes against the cap."""
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
    """Steps, tokens and their speed against the budget and the batch."""
    steps, batch, given = (record.get(key) for key in ("steps", "budget.batch_tokens", "budget.steps"))
    if steps is not None:
        if given is not None and steps != given:
            yield f"steps is {steps}, budget.steps is {given}"
        if given is None and batch and record.get("budget.tokens") is not None:
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
