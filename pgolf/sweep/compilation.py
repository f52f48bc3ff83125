"""`train.compile=auto` on a CPU: the runs of one command are all compiled, or none of them is.

Compiling costs COLD_S once per shape of a model, and WARM_S in every run, which loads what was compiled. It saves GAIN
of the time of a step. So it pays for long runs and for many runs of one shape. The rule uses the configurations alone
and fixed costs, so that the same command always decides the same. Finished runs of the command decide before the rule:
more seeds never make a study of compiled and uncompiled runs.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache

from omegaconf import open_dict

from pgolf.config.auto import cxx_compiler
from pgolf.config.build import build_model, planned_steps
from pgolf.config.composed_run import ComposedRun
from pgolf.config.identity import compiled_shape
from pgolf.config.schema import Config, ModelConfig
from pgolf.nn.naming import named_tensors
from pgolf.records.record import FINISHED
from pgolf.sweep.runs import Run
from pgolf.sweep.state import plan_run
from pgolf.sweep.sweep import record_or_none

# Measured on an idle CPU core for four layers of width 128, one thread (docs/performance.md).
COLD_S = 45.0  # to compile a model that was never compiled
WARM_S = 5.5  # to load a compiled model in another process
GAIN = 0.15  # of the time of an eager step
THREAD_FLOPS = 43e9  # training FLOPs per second and thread


@lru_cache(maxsize=256)
def _parameters(model: str) -> int:
    return sum(p.numel() for p in named_tensors(build_model(ModelConfig(**json.loads(model)))).values())


def training_s(config: Config) -> float:
    """Roughly the seconds of training of one run: its budget, or 6 FLOPs per parameter and token."""
    train, steps = config.train, planned_steps(config.train)
    if steps is None:
        return train.seconds or 0.0
    flops = 6.0 * _parameters(json.dumps(asdict(config.model))) * steps * train.batch_tokens
    return flops / (THREAD_FLOPS * train.cpu_threads)


def pays(configs: Sequence[Config]) -> bool:
    """Whether compilation saves more time than it costs, over all runs. configs: every `auto` decided."""
    trained = [config for config in configs if config.train.parent is None]
    saved_s = GAIN * sum(training_s(config) for config in trained)
    if saved_s <= WARM_S * len(trained) + COLD_S:  # one shape at least
        return False
    return saved_s > WARM_S * len(trained) + COLD_S * len({compiled_shape(config) for config in trained})


def with_compile(run: ComposedRun, choice: str) -> ComposedRun:
    """A copy of a run with another value of `train.compile`."""
    cfg, train = run.cfg.copy(), {**run.resolved["train"], "compile": choice}
    with open_dict(cfg):
        cfg.train.compile = choice
    return replace(run, cfg=cfg, resolved={**run.resolved, "train": train})


def used_before(runs: Sequence[tuple[ComposedRun, Run]], *, in_sweep: bool) -> str | None:
    """What the finished runs among these used: `on` or `off`; None if there are none. Raises PgolfError."""
    for composed, run in runs:
        if not any(run.folder.parent.glob(f"seed{run.config.seed}-*")):
            continue
        for folder in (run.folder, plan_run(with_compile(composed, "on"), in_sweep=in_sweep).folder):
            record = record_or_none(folder)
            if record is not None and record["status"] in FINISHED:
                return "off" if folder == run.folder else "on"
    return None


def decide_compile(composed: Sequence[ComposedRun], runs: Sequence[Run], *, in_sweep: bool) -> list[Run]:
    """The runs of one command, compiled or not. composed: the same runs before. runs: with `auto` decided as off.

    Only runs with `train.compile=auto` on a CPU may change. Raises PgolfError.
    """
    pairs = list(zip(composed, runs, strict=True))
    undecided = [(c, r) for c, r in pairs if c.config.train.compile == "auto" and r.config.device == "cpu"]
    if not undecided or cxx_compiler() is None:
        return list(runs)
    choice = used_before(undecided, in_sweep=in_sweep) or ("on" if pays([r.config for _, r in undecided]) else "off")
    if choice == "off":
        return list(runs)
    changed = {id(r) for _, r in undecided}
    return [plan_run(with_compile(c, "on"), in_sweep=in_sweep) if id(r) in changed else r for c, r in pairs]
