"""`launch.dry_run=true`: for every run its costs, an estimate of its time, and what this machine lacks for it."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from pgolf.config.auto import device_memory_bytes
from pgolf.config.build import build_budget, build_data
from pgolf.config.composition import ComposedRun
from pgolf.config.schema import Config
from pgolf.errors import PgolfError
from pgolf.records.record import RECORD
from pgolf.run.account import Account, account
from pgolf.run.memory import Memory, estimates, in_words
from pgolf.sweep.runs import Run
from pgolf.sweep.state import State
from pgolf.sweep.sweep import counted, each_once, minutes, record_or_none

LOOKED_AT = 50  # earlier runs whose speed is asked for
GUESS = 0.5  # of a plain matrix product's speed that training reaches; only where no earlier run tells
MATRIX = 512


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


def duration(config: Config, costs: Account, rate: float) -> tuple[float, str]:
    """(seconds of training of one run, the same in words): from its FLOPs, or from a budget in seconds, with the steps
    that fit into it here.
    """
    budget, step_s = build_budget(config.train), costs.flops_per_token * config.train.batch_tokens / rate
    if budget.steps is None:
        steps = budget.limit_s / step_s
        digits = 0 if steps >= 10 else 1
        return budget.limit_s, f"stops after {minutes(budget.limit_s)}, about {steps:,.{digits}f} steps here"
    return step_s * budget.steps, f"about {minutes(step_s * budget.steps)}"


def too_large(config: Config, estimated: Mapping[str, Memory]) -> list[str]:
    """A problem where the estimated memory exceeds that of this machine."""
    available, precision = device_memory_bytes(config.device), config.train.precision
    needed = estimated[precision].total * (1 if config.device == "cuda" else config.launch.nproc)
    if available is None or needed <= available:
        return []
    return [
        f"memory: needs about {needed / 1e9:.1f} GB in {precision}, this machine has {available / 1e9:.1f} GB. Raise "
        "train.micro_batches"
    ]


def absent_data(config: Config) -> list[str]:
    """What a corpus would have to fetch first."""
    try:
        ask = getattr(build_data(config), "absent", None)
    except PgolfError:
        return []
    absent = ask() if ask else None
    return [absent] if absent else []


def dry_run(composed: Sequence[ComposedRun], runs: Sequence[Run], states: Sequence[State]) -> None:
    """Print what would run; nothing is started or written. composed: the same runs, `auto` not decided."""
    first, repeated = each_once(runs)
    print("\n".join([f"{counted(len(first), 'run')} in {runs[0].plan_folder}; nothing is started", *repeated]))
    rates: dict[tuple[str, int], tuple[float, str]] = {}
    known: dict[str, tuple[Account, dict[str, Memory]]] = {}  # of an arm, whatever its seeds
    total_s, sources, warnings = 0.0, set(), list[str]()
    for number, position in enumerate(first, 1):
        config, asked, state = runs[position].config, composed[position].config, states[position]
        arm = repr([asked.model, asked.optim, asked.defects, asked.quant, asked.train, asked.launch])
        if arm not in known:
            known[arm] = account(config), estimates(asked)
        costs, memory = known[arm]
        machine = (config.device if torch.cuda.is_available() else "cpu", config.train.cpu_threads)
        if machine not in rates:
            rates[machine] = flops_per_s(Path(config.paths.out).expanduser(), *machine)
        rate, source = rates[machine]
        seconds, time_text = duration(config, costs, rate)
        if state.kind != "done" and config.train.parent is None:
            total_s += seconds
        sources.add(source)
        size = f"{costs.total:,} parameters ({costs.frozen:,} frozen)"
        packed = f"{costs.payload_bytes['chosen']:,} bytes before compression"
        label = f"{number}/{len(first)}  {runs[position].label}"
        print(f"{label}: {size}, {packed}, memory {in_words(memory)}, {time_text}; {state.why}")
        warnings += [*composed[position].unavailable, *too_large(config, memory), *absent_data(config)]
    print("memory per process: weights, gradients, optimizer, averages, tensors of one micro-batch; not compiled")
    print(f"about {minutes(total_s)} of training in all, one after another ({'; '.join(sorted(sources))})")
    for warning in dict.fromkeys(warnings):
        print(f"warning: this machine cannot run it as it is. {warning}", file=sys.stderr)
