"""The time of a run before it starts, at the speed of earlier runs or, without any, of a matrix product."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pgolf.config.auto import usable_device
from pgolf.config.build import build_averaging, build_budget, build_data, build_eval
from pgolf.config.schema import Config
from pgolf.data.prepare.cache import nothing_new
from pgolf.data.shards import token_count
from pgolf.errors import PgolfError
from pgolf.execution.account import Account
from pgolf.optim.averaging import NoAveraging
from pgolf.records.progress import count_text, duration_text
from pgolf.records.record import RECORD
from pgolf.sweep.compilation import WARM_S
from pgolf.sweep.sweep import record_or_none

START_S = 1.5  # a worker's start, corpus and model: what 40 sweeps of tiny runs took beside training, scoring, packing
PACKED_PER_S = 2e6  # parameters; four layers of width 128 take 0.05 to 0.4 s
ABOUT = 4.0  # runs are of about one size if their FLOPs per step differ by at most this factor
LEAST_TRAIN_S = 1.0  # shorter trainings say nothing about speed
MOST_RECORDS = 50  # earlier runs of a size, the latest ones, that are used
MOST_WINDOWS_OF = 1_000_000  # targets whose windows are planned; the others cost the same
EFFICIENCY = 0.5  # assumed speed of training relative to a plain matrix product, if there is no earlier run
MATRIX = 512  # rows and columns of that product


@dataclass(frozen=True)
class RunTime:
    """The estimated seconds of the parts of a run. train_s: 0 where weights are loaded. step_s: one training step.

    scoring_s: all scorings of the run; None if the corpus, whose size they depend on, is not prepared. earlier: folders
    of the earlier runs whose speed was used; none if it is that of a matrix product.
    """

    start_s: float
    train_s: float
    step_s: float
    scoring_s: float | None
    packing_s: float
    earlier: frozenset[Path]

    @property
    def total_s(self) -> float:
        return self.start_s + self.train_s + (self.scoring_s or 0.0) + self.packing_s


class RunTimes:
    """Estimates the time of runs. out: the folder of all studies, whose finished runs give the speed."""

    def __init__(self, out: Path):
        self.out = out
        self.products: dict[tuple[str, int], float] = {}
        self.sizes: dict[str, int | None] = {}

    @cached_property
    def finished(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """(folder, record) of every finished run that trained long enough to have a speed, latest first."""
        found = [(path.parent, record_or_none(path.parent)) for path in self.out.glob(f"*/*/seed*/{RECORD}")]
        ok = [(folder, record) for folder, record in found if record is not None and record["status"] == "ok"]
        long = [(f, record) for f, record in ok if record["train_s"] >= LEAST_TRAIN_S and record.get("flops_per_token")]
        return sorted(long, key=lambda pair: -pair[1]["ended_at"])

    def like(self, config: Config, costs: Account) -> dict[Path, Mapping[str, Any]]:
        """The latest finished runs of about the size of a run, with its kind of device and number of threads."""
        of_step = costs.flops_per_token * config.train.batch_tokens
        on_cpu = usable_device(config.device) == "cpu"
        chosen = {
            folder: record
            for folder, record in self.finished
            if record["threads"] == config.train.cpu_threads
            and (record["device"] == "cpu") == on_cpu
            and 1 / ABOUT <= record["flops_per_token"] * record["budget.batch_tokens"] / of_step <= ABOUT
        }
        return dict(list(chosen.items())[:MOST_RECORDS])

    def of(self, config: Config, costs: Account) -> RunTime:
        """The time of one run. Raises ConfigError."""
        earlier = self.like(config, costs)
        if earlier:
            flops = sum(record["flops_per_token"] * record["tokens"] for record in earlier.values())
            rate = flops / sum(record["train_s"] for record in earlier.values())
        else:
            rate = self.product_rate(usable_device(config.device), config.train.cpu_threads)
        step_s = costs.flops_per_token * config.train.batch_tokens / rate
        budget, loads = build_budget(config.train), config.train.parent is not None
        train_s = budget.limit_s if budget.steps is None else step_s * budget.steps
        once_s = self.scoring_s(config, costs, rate, earlier.values())
        packs = [record["pack_s"] / record["params.total"] for record in earlier.values() if "pack_s" in record]
        return RunTime(
            START_S + (0.0 if loads else priming_s(config, earlier.values())),
            0.0 if loads else train_s,
            step_s,
            None if once_s is None else once_s * scorings(config, train_s / step_s),
            costs.total * (mean(packs) if packs else 1 / PACKED_PER_S),
            frozenset(earlier),
        )

    def scoring_s(
        self, config: Config, costs: Account, rate: float, earlier: Iterable[Mapping[str, Any]]
    ) -> float | None:
        """Seconds of one scoring: those of earlier runs of the same evaluation, per target and FLOP, or a forward pass
        over all windows, a third of training. rate: training FLOPs per second. None without a prepared corpus.
        """
        mode, size = build_eval(config), self.val_tokens(config)
        limit = getattr(mode, "max_targets", None)
        known = [count for count in (limit, None if size is None else size - 1) if count is not None]
        if not known:
            return None
        targets = min(known)
        same = [r for r in earlier if r.get("eval_s") and kind_of(r["eval_mode"]) == kind_of(mode.name)]
        if same:
            flops = sum(record["val_targets"] * record["flops_per_token"] for record in same)
            return targets * costs.flops_per_token * sum(record["eval_s"] for record in same) / flops
        tokens = float(targets)
        windows = getattr(mode, "windows", None)
        if windows is not None:  # a mode of documents has none without the text, which is not read here
            planned = min(targets, MOST_WINDOWS_OF)
            tokens *= sum(window.stop - window.start for window in windows(planned)) / planned
        return tokens * costs.flops_per_token / 3 / rate

    def val_tokens(self, config: Config) -> int | None:
        """The validation tokens of a corpus; None if it is not prepared. Nothing is prepared here."""
        key = json.dumps([{**config.data, "shuffle_seed": None}, config.paths.cache], sort_keys=True)
        if key not in self.sizes:
            self.sizes[key] = None
            try:
                with nothing_new():
                    data = build_data(config)
                    if not getattr(data, "absent", lambda: None)():
                        self.sizes[key] = sum(token_count(path) for path in data.prepare().val_shards)
            except PgolfError:
                pass  # the sweep itself says what is wrong
        return self.sizes[key]

    def product_rate(self, device: str, threads: int) -> float:
        """Training FLOPs per second of a device, from the speed of a plain matrix product."""
        if (device, threads) not in self.products:
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            a = torch.ones(MATRIX, MATRIX, device=device)
            _ = float((a @ a).sum())
            began, times = time.perf_counter(), 20
            for _number in range(times):
                a = a @ a * (1 / MATRIX)
            _ = float(a.sum())
            seconds = time.perf_counter() - began
            self.products[device, threads] = EFFICIENCY * times * 2 * MATRIX**3 / seconds
            torch.set_num_threads(before)
        return self.products[device, threads]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def kind_of(eval_mode: str) -> str:
    """The name of an evaluation without its number of targets."""
    return eval_mode.partition("-first")[0]


def priming_s(config: Config, earlier: Iterable[Mapping[str, Any]]) -> float:
    """Seconds before the clock of training: those of earlier runs with the same `train.compile`."""
    known = [r["priming_s"] for r in earlier if r.get("compile") == config.train.compile and "priming_s" in r]
    if known:
        return mean(known)
    return WARM_S if config.train.compile == "on" else 0.0


def scorings(config: Config, steps: float) -> int:
    """How often a run is scored: live, averaged if there is an average, packed, and during the steps of training."""
    every = 0 if config.train.parent is not None else config.train.val_every
    ends = 2 if isinstance(build_averaging(config.optim), NoAveraging) else 3
    return ends + (max(0, int(steps) - 1) // every if every else 0)


def about(seconds: float) -> str:
    """`about 45 s`, or `under 1 s`."""
    return "under 1 s" if seconds < 1 else f"about {duration_text(seconds)}"


def sources(times: Iterable[RunTime]) -> str:
    """The speeds that these estimates were made from, in words."""
    listed = list(times)
    earlier = {folder for one in listed for folder in one.earlier}
    without = sum(not one.earlier for one in listed)
    measured = f"from the speed of {count_text(len(earlier), 'earlier run')} of about this size"
    if not earlier:
        return "a rough estimate from the speed of a matrix product; small models can take several times as long"
    if without:
        return f"{measured}, {count_text(without, 'run')} roughly from the speed of a matrix product"
    return measured


def total_text(total_s: float, times: Iterable[RunTime]) -> str:
    """The time of all runs in words. total_s: of those that are left. times: of all, for the source of the estimate."""
    listed = list(times)
    parts = "start, training, scoring and packing"
    if any(one.scoring_s is None for one in listed):
        parts = "start, training and packing, not scoring, since a corpus is not prepared"
    return f"{about(total_s)} in total, one run after another: {parts} ({sources(listed)})"
