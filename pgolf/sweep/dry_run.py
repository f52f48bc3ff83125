"""`launch.dry_run=true`: every cell with what it costs, how long it may take, and what this machine lacks for it."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from pgolf.config.auto import device_memory_bytes
from pgolf.config.build import build_budget, build_data
from pgolf.config.compose import plain
from pgolf.config.preflight import Cell
from pgolf.errors import PgolfError
from pgolf.records.record import RECORD
from pgolf.run.account import Account, account
from pgolf.run.memory import Memory, estimates, in_words
from pgolf.sweep.state import Planned, State
from pgolf.sweep.sweep import counted, each_once, minutes, plan_folder, record_or_none

LOOKED_AT = 50  # earlier runs whose speed is asked for
GUESS = 0.5  # of a plain matrix product's speed that training reaches; only where no earlier run tells
MATRIX = 512
COSTS = ("model", "optim", "defects", "quant", "train", "launch")  # sections that what a run costs depends on


def flops_per_s(out: Path, device: str, threads: int) -> tuple[float, str]:
    """Training FLOPs a second of earlier runs below `out` on this device at this thread count, or a guess; and which it
    is.
    """
    found = []
    for path in list(out.glob(f"*/*/seed*/{RECORD}"))[-LOOKED_AT:]:
        record = record_or_none(path.parent)
        if (
            record
            and record["status"] == "ok"
            and record["threads"] == threads
            and (record["device"] == "cpu") == (device == "cpu")
        ):
            found.append(record["flops_per_token"] * record["tokens"] / (record["train_s"] + record["eval_s"]))
    if found:
        return median(found), f"from the speed of {len(found)} earlier run{'s' if len(found) > 1 else ''}"
    a = torch.ones(MATRIX, MATRIX, device=device)
    _ = float((a @ a).sum())
    began, times = time.perf_counter(), 20
    for _number in range(times):
        a = a @ a * (1 / MATRIX)
    _ = float(a.sum())
    return GUESS * times * 2 * MATRIX**3 / (time.perf_counter() - began), "a guess from the speed of a matrix product"


def duration(config: Mapping[str, Any], costs: Account, rate: float) -> tuple[float, str]:
    """Training time of one run, and in words: by its FLOPs, or where the budget is in seconds, that and the steps that
    fit into it here.
    """
    budget, step_s = build_budget(config["train"]), costs.flops_per_token * config["train"]["batch_tokens"] / rate
    if budget.steps is None:
        steps = budget.limit_s / step_s
        return (
            budget.limit_s,
            f"stops after {minutes(budget.limit_s)}, about {steps:,.{0 if steps >= 10 else 1}f} steps here",
        )
    return step_s * budget.steps, f"about {minutes(step_s * budget.steps)}"


def too_large(config: Mapping[str, Any], found: Mapping[str, Memory]) -> list[str]:
    """A line where the estimated memory is more than this machine has."""
    have, name = device_memory_bytes(config["device"]), config["train"]["precision"]
    need = found[name].total * (1 if config["device"] == "cuda" else config["launch"]["nproc"])
    if have is None or need <= have:
        return []
    return [
        f"memory: about {need / 1e9:.1f} GB in {name} are needed, {have / 1e9:.1f} GB are there. Raise "
        "train.micro_batches"
    ]


def absent_data(config: Mapping[str, Any]) -> str | None:
    """What a corpus would have to fetch first."""
    try:
        ask = getattr(build_data(config), "absent", None)
    except PgolfError:
        return None
    return ask() if ask else None


def dry_run(cells: Sequence[Cell], planned: Sequence[Planned], states: Sequence[State]) -> None:
    """Print what would run; nothing is started or written."""
    first, repeated = each_once(planned)
    print("\n".join([f"{counted(len(first), 'run')} in {plan_folder(planned[0])}; nothing is started", *repeated]))
    rates: dict[tuple[str, int], tuple[float, str]] = {}
    known: dict[str, tuple[Account, dict[str, Memory]]] = {}  # of an arm, whatever its seeds
    total, how, warnings = 0.0, set(), list[str]()
    for number, (cell, job, state) in enumerate([(cells[place], planned[place], states[place]) for place in first], 1):
        config, asked = job.config, plain(cell.composed)
        arm = repr({key: asked[key] for key in COSTS})
        if arm not in known:
            known[arm] = account(config), estimates(asked)
        costs, memory = known[arm]
        where = (config["device"] if torch.cuda.is_available() else "cpu", config["train"]["threads"])
        if where not in rates:
            rates[where] = flops_per_s(Path(config["paths"]["out"]).expanduser(), *where)
        rate, source = rates[where]
        seconds, told = duration(config, costs, rate)
        if state.kind != "done" and config["train"]["from"] is None:
            total += seconds
        how.add(source)
        size = (
            f"{costs.total:,} parameters ({costs.frozen:,} frozen), {costs.payload_bytes['chosen']:,} bytes before "
            "compression"
        )
        print(f"{number}/{len(first)}  {job.label}: {size}, memory {in_words(memory)}, {told}; {state.why}")
        warnings += [
            *cell.unavailable,
            *too_large(config, memory),
            *([absent] if (absent := absent_data(config)) else []),
        ]
    print("memory: weights, gradients, optimizer, averages and the tensors of one micro-batch, a process, not compiled")
    print(f"about {minutes(total)} of training in all, one after another ({'; '.join(sorted(how))})")
    for warning in dict.fromkeys(warnings):
        print(f"warning: this machine cannot run it as it is. {warning}", file=sys.stderr)
