"""`python -m pgolf.bench [overrides] [--against OVERRIDE ...]`: measures the speed of a configuration on this machine.

It measures the time of a step, tokens/s, memory, and the speed of evaluation and packing. With --against, the steps of
two models alternate in one process, so that other load on the machine affects both equally. The result is the median
ratio of neighbouring steps, with an interval. Nothing is written.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pgolf.command import Parser, run
from pgolf.config.auto import decide_auto
from pgolf.config.build import (
    build_averaging,
    build_model,
    build_optimizers,
    build_quantizer,
    start_weights,
)
from pgolf.config.command_line import compose_one
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError
from pgolf.execution.account import account
from pgolf.execution.artifact import pack
from pgolf.execution.context import open_context
from pgolf.execution.execute import loop_settings, make_training
from pgolf.machine.ranks import Ranks
from pgolf.machine.usage import peak_memory_bytes
from pgolf.training.gradient_watch import GradientWatch
from pgolf.training.loop import set_rates, take_step
from pgolf.training.pace import Pace, Trace

WARM_UP_STEPS = 3
RESAMPLES = 2000
FEWEST_PAIRS = 10  # of steps, for an interval
MOST_STEPS = 1_000_000


class Subject:
    """A model with its optimizers and its corpus, ready to be trained step by step."""

    def __init__(self, overrides: Sequence[str]):
        self.name = " ".join(overrides) or "the default configuration"
        self.config = decide_auto(compose_one(overrides).config, in_sweep=False)
        self.ranks = Ranks()
        self.context = open_context(self.config, self.ranks)
        self.device, self.model = self.context.device, build_model(self.config.model)
        start_weights(self.model, self.config.model, self.config.seed, self.device)
        optimizers = build_optimizers(self.model, self.config, self.ranks)
        training = make_training(self.context, self.model, optimizers, build_averaging(self.config.optim))
        self.training = replace(training, watch=GradientWatch({}))
        self.training.averaging.start(self.training.trainable)
        self.settings = loop_settings(self.config)
        self.base_lr = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.training.optimizers]
        self.pace = Pace(Trace(), self.device, self.ranks)

    def take(self) -> None:
        """Take one training step, with averaging. On a GPU it may still be computed afterwards."""
        trace = self.pace.trace
        self.pace.begin()
        set_rates(self.training.optimizers, self.base_lr, self.training.schedule(trace.steps, 0.0))
        take_step(self.training, self.settings, self.ranks, trace.steps, self.pace)
        self.training.averaging.update(trace.steps + 1, 1.0, self.training.trainable)
        trace.steps += 1

    def step_ms(self) -> float:
        """Take one training step and wait for it. Returns its time in milliseconds."""
        self.take()
        self.pace.settle()
        return self.pace.trace.step_ms[-1]

    def figures(self, times_ms: Sequence[float]) -> dict[str, Any]:
        """Measure evaluation and packing. Returns all results for this model. times_ms: of its training steps."""
        costs, tokens = account(self.config), self.config.train.batch_tokens
        began = time.perf_counter()
        score = self.context.evaluation(self.model)
        eval_s = time.perf_counter() - began
        began = time.perf_counter()
        with TemporaryDirectory() as folder:
            quantizer = build_quantizer(self.config)
            size = pack(
                self.model,
                self.config.model,
                self.context.corpus.corpus.tokenizer,
                quantizer,
                Path(folder) / "artifact",
            )
        pack_s = time.perf_counter() - began
        return {
            "name": self.name,
            "parameters": costs.total,
            "flops_per_token": costs.flops_per_token,
            "steps": len(times_ms),
            "tokens_per_step": tokens,
            "step_ms_median": median(times_ms),
            "tokens_per_s": tokens / median(times_ms) * 1000,
            "flops_per_s": costs.flops_per_token * tokens / median(times_ms) * 1000,
            "eval_targets_per_s": score.targets / eval_s,
            "pack_s": pack_s,
            "packed_bytes": size,
        }


def alternate_steps(subjects: Sequence[Subject], steps: int) -> list[list[float]]:
    """Step times of each subject in milliseconds. After a warm-up, the subjects take turns."""
    for _ in range(WARM_UP_STEPS):
        for subject in subjects:
            subject.step_ms()
    times: list[list[float]] = [[] for _ in subjects]
    for number in range(steps):
        order = range(len(subjects)) if number % 2 == 0 else reversed(range(len(subjects)))
        for index in order:
            times[index].append(subjects[index].step_ms())
    return times


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float | None, float | None]:
    """(median of the ratios ours / theirs of pairs of steps, lower and upper end of its 95% interval).

    The interval comes from a circular block bootstrap (Politis and Romano 1992) with blocks of n^(1/2) pairs, since
    other load on the machine lasts for several steps and neighbouring pairs are not independent. Its ends are None for
    fewer than FEWEST_PAIRS pairs.
    """
    pairs = np.asarray(ours) / np.asarray(theirs)
    n, block = len(pairs), max(1, round(len(pairs) ** 0.5))
    if n < FEWEST_PAIRS:
        return float(np.median(pairs)), None, None
    starts = np.random.default_rng(0).integers(n, size=(RESAMPLES, -(-n // block)))
    resamples = pairs[(starts[:, :, None] + np.arange(block)) % n].reshape(RESAMPLES, -1)[:, :n]
    low, high = np.quantile(np.median(resamples, axis=1), [0.025, 0.975])
    return float(np.median(pairs)), float(low), float(high)


def bench(ours: Sequence[str], theirs: Sequence[str] | None, steps: int) -> dict[str, Any]:
    """All results, as --json prints them. theirs: overrides that are added for the second model. Raises PgolfError."""
    subjects = [Subject(ours)] + ([] if theirs is None else [Subject([*ours, *theirs])])
    if len({subject.config.train.threads for subject in subjects}) > 1:
        raise ConfigError("train.threads: must be the same for both models. Leave it out, or give it once")
    torch.set_num_threads(subjects[0].config.train.cpu_threads)
    times = alternate_steps(subjects, steps)
    results: dict[str, Any] = {
        "device": subjects[0].config.device,
        "threads": subjects[0].config.train.cpu_threads,
        "peak_mem_bytes": peak_memory_bytes(subjects[0].device),
        "models": [subject.figures(own) for subject, own in zip(subjects, times, strict=True)],
    }
    if theirs is not None:
        results["step_time_ratio"] = dict(zip(("median", "low", "high"), ratio(times[1], times[0]), strict=True))
    return results


def results_text(results: Mapping[str, Any]) -> str:
    """The results of `bench` as lines of text."""
    memory_mb = results["peak_mem_bytes"] / 1e6
    lines = [f"{results['device']}, {results['threads']} threads, peak memory {memory_mb:,.0f} MB"]
    for model in results["models"]:
        lines += [
            f"{model['name']}",
            f"  {model['parameters']:,} parameters, {model['flops_per_token']:,} training FLOPs per token",
            f"  step    {model['step_ms_median']:.1f} ms (median of {model['steps']}), {model['tokens_per_s']:,.0f} "
            "tokens/s, "
            f"{model['flops_per_s'] / 1e9:,.1f} GFLOP/s",
            f"  score   {model['eval_targets_per_s']:,.0f} targets/s",
            f"  pack    {model['pack_s']:.2f} s, {model['packed_bytes']:,} bytes",
        ]
    if "step_time_ratio" in results:
        estimate = results["step_time_ratio"]
        interval = (
            f"95% interval {estimate['low']:.3f} to {estimate['high']:.3f}"
            if estimate["low"] is not None
            else f"an interval needs --steps {FEWEST_PAIRS} or more"
        )
        lines.append(f"second / first step time: {estimate['median']:.3f} ({interval})")
        if len({model["tokens_per_step"] for model in results["models"]}) > 1:
            lines.append("the models train on different numbers of tokens per step; compare tokens/s")
    return "\n".join(lines)


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.bench", description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as of pgolf.train, for example model/head=mos train.threads=1"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        metavar="OVERRIDE",
        help="also measure a second model, with these overrides added",
    )
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each model (default: 30)")
    parser.add_argument("--json", action="store_true", help="print JSON; the names contain the units")
    args = parser.parse_args(use_search_path(arguments))
    if not 1 <= args.steps <= MOST_STEPS:
        raise ConfigError(f"--steps: must be from 1 to {MOST_STEPS:,} ({args.steps})")
    results = bench(args.overrides, args.against, args.steps)
    print(json.dumps(results, indent=1) if args.json else results_text(results))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
