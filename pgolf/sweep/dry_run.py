"""`launch.dry_run=true`: prints the cost of every run, an estimate of its time, and missing resources."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from pgolf.config.auto import device_memory_bytes, usable_device
from pgolf.config.build import build_budget, build_data
from pgolf.config.composed_run import ComposedRun
from pgolf.config.schema import Config
from pgolf.errors import PgolfError
from pgolf.execution.account import Account, account
from pgolf.execution.memory import Memory, estimates, memory_text
from pgolf.records.progress import duration_text
from pgolf.records.record import RECORD
from pgolf.sweep.runs import Run
from pgolf.sweep.state import State
from pgolf.sweep.sweep import count_text, record_or_none, unique_runs

MOST_TINY_S = 5.0  # of training; shorter runs say nothing about speed
MOST_RECORDS = 50  # earlier runs that are read for their speed
EFFICIENCY = 0.5  # assumed speed of training relative to a plain matrix product, if there is no earlier run
MATRIX = 512  # rows and columns of that product


def flops_per_s(out: Path, device: str, threads: int) -> tuple[float, str]:
    """(training FLOPs per second, the source of this number in words).

    All FLOPs over all seconds of earlier runs below `out` with the same device and number of threads, so that long runs
    count more than tiny ones, whose time is not that of training. Runs of less than MOST_TINY_S do not count. Without
    such runs: an estimate from the speed of a matrix product.
    """
    flops, seconds, count = 0.0, 0.0, 0
    for path in list(out.glob(f"*/*/seed*/{RECORD}"))[-MOST_RECORDS:]:
        record = record_or_none(path.parent)
        if (
            record
            and record["status"] == "ok"
            and record["threads"] == threads
            and (record["device"] == "cpu") == (device == "cpu")
            and record["train_s"] >= MOST_TINY_S
        ):
            flops += record["flops_per_token"] * record["tokens"]
            seconds += record["train_s"] + record["eval_s"]
            count += 1
    if count:
        return flops / seconds, f"from the speed of {count_text(count, 'earlier run')}"
    a = torch.ones(MATRIX, MATRIX, device=device)
    _ = float((a @ a).sum())
    began, times = time.perf_counter(), 20
    for _number in range(times):
        a = a @ a * (1 / MATRIX)
    _ = float(a.sum())
    speed = EFFICIENCY * times * 2 * MATRIX**3 / (time.perf_counter() - began)
    return speed, "a rough estimate from the speed of a matrix product"


def duration(config: Config, costs: Account, rate: float) -> tuple[float, str]:
    """(seconds of training of one run, the same in words). rate: training FLOPs per second.

    For a budget in seconds, the words give the number of steps that fit into it.
    """
    budget, step_s = build_budget(config.train), costs.flops_per_token * config.train.batch_tokens / rate
    if budget.steps is None:
        steps = budget.limit_s / step_s
        digits = 0 if steps >= 10 else 1
        return budget.limit_s, f"stops after {duration_text(budget.limit_s)}, about {steps:,.{digits}f} steps here"
    return step_s * budget.steps, f"about {duration_text(step_s * budget.steps)}"


def memory_problems(config: Config, by_precision: Mapping[str, Memory]) -> list[str]:
    """One problem if the estimated memory exceeds that of this machine."""
    available, precision = device_memory_bytes(config.device), config.train.precision
    needed = by_precision[precision].total * (1 if config.device == "cuda" else config.launch.nproc)
    if available is None or needed <= available:
        return []
    return [
        f"memory: needs about {needed / 1e9:.1f} GB in {precision}, this machine has {available / 1e9:.1f} GB. Raise "
        "train.micro_batches"
    ]


def data_problems(config: Config) -> list[str]:
    """One problem if the corpus must be downloaded first."""
    try:
        describe_absence = getattr(build_data(config), "absent", None)
    except PgolfError:
        return []
    problem = describe_absence() if describe_absence else None
    return [problem] if problem else []


def dry_run(undecided: Sequence[ComposedRun], runs: Sequence[Run], states: Sequence[State]) -> None:
    """Print what would run. Nothing is started or written. undecided: the same runs, before `auto` was decided."""
    first, repeated = unique_runs(runs)
    print("\n".join([f"{count_text(len(first), 'run')} in {runs[0].plan_folder}; nothing is started", *repeated]))
    rates: dict[tuple[str, int], tuple[float, str]] = {}
    by_arm: dict[str, tuple[Account, dict[str, Memory]]] = {}  # the seeds of an arm share the costs
    total_s, sources, warnings = 0.0, set(), list[str]()
    for number, position in enumerate(first, 1):
        config, state = runs[position].config, states[position]
        sections = (config.model, config.optim, config.defects, config.quant, config.train, config.launch)
        if (arm := repr(sections)) not in by_arm:
            by_arm[arm] = account(config), estimates(config)
        costs, memory = by_arm[arm]
        machine = (usable_device(config.device), config.train.cpu_threads)
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
        print(f"{label}: {size}, {packed}, memory {memory_text(memory)}, {time_text}; {state.why}")
        warnings += [*undecided[position].unavailable, *memory_problems(config, memory), *data_problems(config)]
    print("memory per process: weights, gradients, optimizer, averages, tensors of one micro-batch; not compiled")
    print(f"about {duration_text(total_s)} of training in total, one run after another ({'; '.join(sorted(sources))})")
    for warning in dict.fromkeys(warnings):
        print(f"warning: this machine cannot run this yet. {warning}", file=sys.stderr)
