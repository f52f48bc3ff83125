"""`launch.dry_run=true`: prints the cost of every run, an estimate of its time, and missing resources."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pgolf.config.auto import device_memory_bytes
from pgolf.config.build import build_budget, build_data
from pgolf.config.composed_run import ComposedRun
from pgolf.config.schema import Config
from pgolf.errors import PgolfError
from pgolf.execution.account import Account, account
from pgolf.execution.memory import Memory, estimates, memory_text
from pgolf.records.progress import count_text, duration_text
from pgolf.sweep.run_time import RunTime, RunTimes, about, total_text
from pgolf.sweep.runs import Run
from pgolf.sweep.state import State
from pgolf.sweep.sweep import unique_runs


def time_text(config: Config, run_time: RunTime) -> str:
    """The time of one run in words. For a budget in seconds: the number of steps that fit into it."""
    budget = build_budget(config.train)
    if budget.steps is not None or config.train.parent is not None:
        return about(run_time.total_s)
    steps = budget.limit_s / run_time.step_s
    digits = 0 if steps >= 10 else 1
    return f"stops training after {duration_text(budget.limit_s)}, about {steps:,.{digits}f} steps here"


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
    run_times, times = RunTimes(Path(runs[0].config.paths.out).expanduser()), list[RunTime]()
    by_arm: dict[str, tuple[Account, dict[str, Memory], RunTime]] = {}  # the seeds of an arm share the costs
    total_s, warnings = 0.0, list[str]()
    for number, position in enumerate(first, 1):
        config, state = runs[position].config, states[position]
        sections = (config.model, config.optim, config.defects, config.quant, config.train, config.launch, config.eval)
        if (arm := repr((*sections, config.device, {**config.data, "shuffle_seed": None}))) not in by_arm:
            costs = account(config)
            by_arm[arm] = costs, estimates(config), run_times.of(config, costs)
        costs, memory, run_time = by_arm[arm]
        times.append(run_time)
        if state.kind != "done":
            total_s += run_time.total_s
        size = f"{costs.total:,} parameters ({costs.frozen:,} frozen)"
        packed = f"{costs.payload_bytes['chosen']:,} bytes before compression"
        label = f"{number}/{len(first)}  {runs[position].label}"
        print(f"{label}: {size}, {packed}, memory {memory_text(memory)}, {time_text(config, run_time)}; {state.why}")
        warnings += [*undecided[position].unavailable, *memory_problems(config, memory), *data_problems(config)]
    print("memory per process: weights, gradients, optimizer, averages, tensors of one micro-batch; not compiled")
    print(total_text(total_s, times))
    for warning in dict.fromkeys(warnings):
        print(f"warning: this machine cannot run this yet. {warning}", file=sys.stderr)
