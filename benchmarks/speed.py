"""How fast two checkouts are, in turn: `python benchmarks/speed.py --base FOLDER [--parts steps commands jobs]
[--rounds 5]`.

FOLDER is a checkout of another commit, for example of `git worktree add FOLDER COMMIT`. Each round executes every
command once in each checkout, so that a change of the machine's load meets both. The packages of both checkouts are
those of this interpreter, and the corpus is prepared before. Printed are medians over the rounds and the ratio
here / base, for times; below one is faster here.

steps: the step of training, the scored targets and the packing that `pgolf.bench` measures, eager in both checkouts
and compiled against the base's eager step. commands: wall and CPU seconds (user and system, children included) of whole
commands. jobs: the seconds of one more job of a sweep over one more run in one process. study: the wall time of
`--study`, a command line of pgolf.train.
"""

import argparse
import json
import os
import pydoc_data.topics
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
TINY = """model.width=32 model.layers=2 model.heads=2 model.kv_heads=1 train.steps=2 train.seq_len=32
train.batch_tokens=256 train.val_every=2 train.threads=1 eval.max_targets=3000"""
COMMANDS = {
    "a run of two steps": f"pgolf.train {TINY}",
    "a sweep of six such runs": f"pgolf.train --multirun seed=1,2,3,4,5,6 {TINY}",
    "dry run of a study": "pgolf.train study=low_rank_q launch.dry_run=true",
    "help": "pgolf.train --help",
    "status of a sweep": "pgolf.status runs/adhoc",
}
MODELS = {"scale=cpu": "the default", "stack=pr908 scale=cpu": "stack=pr908"}
MANY_RUNS = """
import sys, time
from pgolf import train
times = []
for seed in range(1, 9):
    began = time.perf_counter()
    sys.argv[1:] = [*sys.argv[1:1], *{words}, f"seed={{seed}}"]
    assert train.main() == 0
    times.append(time.perf_counter() - began)
print(sorted(times[2:])[3], file=sys.stderr)
"""


class Checkout:
    """A checkout and a folder of its own for runs and corpora."""

    def __init__(self, path: Path, folder: Path):
        self.path, self.folder = path, folder
        folder.mkdir()
        text = "\n\n".join(value for _, value in sorted(pydoc_data.topics.topics.items()))[:250_000]
        (folder / "topics.txt").write_text(text, encoding="utf-8")

    def words(self, command: str, out: str) -> list[str]:
        """The words of a command of COMMANDS. out: the folder of its runs."""
        data = [f"data.path={self.folder}/topics.txt", "data=text", "data.vocab_size=400", f"paths.out={out}"]
        return [*command.split(), *(data if TINY in command else [])]

    def run(self, words: Sequence[str], *, own_cache: bool = True) -> subprocess.CompletedProcess[str]:
        """Execute `python WORDS` in the folder. Raises CalledProcessError."""
        cache = {"PGOLF_CACHE": str(self.folder / "cache")} if own_cache else {}
        shutil.rmtree(self.folder / "again", ignore_errors=True)
        environment = {**os.environ, **cache, "PYTHONPATH": os.pathsep.join([str(self.path), *plugin_folders()])}
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        )

    def seconds(self, words: Sequence[str], *, own_cache: bool = True) -> tuple[float, float]:
        """Wall and CPU seconds of `python WORDS`."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        self.run(words, own_cache=own_cache)
        wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def plugin_folders() -> list[str]:
    """The entries of PYTHONPATH that hold no checkout, for example plugins of Hydra."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [entry for entry in entries if entry and not (Path(entry) / "pgolf").is_dir()]


def in_turn(measures: Sequence[Callable[[], Sequence[float]]], rounds: int) -> list[list[float]]:
    """The medians of what each function measures. The functions take turns; every second round is in reverse order."""
    values: list[list[Sequence[float]]] = [[] for _ in measures]
    for number in range(rounds):
        order = list(range(len(measures)))
        for index in order if number % 2 == 0 else reversed(order):
            values[index].append(measures[index]())
    return [[statistics.median(column) for column in zip(*rows, strict=True)] for rows in values]


def print_row(title: str, base: float, here: float, unit: str) -> None:
    print(f"{title:<44} {base:>10.3f} -> {here:>9.3f} {unit:<5} {here / base:>6.3f}", flush=True)


def measure_bench(checkout: Checkout, words: Sequence[str], steps: int) -> Callable[[], Sequence[float]]:
    """A function that measures (ms per step, us per scored target, s of packing)."""

    def measure() -> Sequence[float]:
        command = ["-m", "pgolf.bench", *words, "--steps", str(steps), "--json"]
        (model,) = json.loads(checkout.run(command, own_cache=False).stdout)["models"]
        return model["step_ms_median"], 1e6 / model["eval_targets_per_s"], model["pack_s"]

    return measure


def time_steps(base: Checkout, here: Checkout, rounds: int, *, threads: int, steps: int) -> None:
    """Print the rows of `steps`."""
    for overrides, name in MODELS.items():
        words = [*overrides.split(), f"train.threads={threads}"]
        kinds = [(base, "off"), (here, "off"), (base, "on"), (here, "on")]
        measured = in_turn([measure_bench(c, [*words, f"train.compile={on}"], steps) for c, on in kinds], rounds)
        eager, ours, base_compiled, compiled = measured
        title = f"{name}, {threads} threads"
        print_row(f"{title}: step", eager[0], ours[0], "ms")
        print_row(f"{title}: step, compiled here only", eager[0], compiled[0], "ms")
        print_row(f"{title}: step, compiled in both", base_compiled[0], compiled[0], "ms")
        print_row(f"{title}: evaluation per target", eager[1], ours[1], "us")
        print_row(f"{title}: packing", eager[2], ours[2], "s")


def time_commands(base: Checkout, here: Checkout, rounds: int) -> None:
    """Print the rows of `commands`."""
    for title, command in COMMANDS.items():
        for checkout in (base, here):
            checkout.run(["-m", *checkout.words(command, "runs")])  # prepares the corpus and compiles the modules
        functions = [partial(c.seconds, ["-m", *c.words(command, "again")]) for c in (base, here)]
        theirs, ours = in_turn(functions, rounds)
        print_row(title, theirs[0], ours[0], "s")
        print_row(f"{title}, CPU", theirs[1], ours[1], "CPU s")


def time_jobs(base: Checkout, here: Checkout, rounds: int) -> None:
    """Print the rows of `jobs`: seconds of one more job, and of one more run in one process."""

    def of_sweep(checkout: Checkout) -> Sequence[float]:
        few, many = (
            checkout.seconds(["-m", *checkout.words(f"pgolf.train --multirun seed={seeds} {TINY}", "again")])[0]
            for seeds in ("1,2", "1,2,3,4,5,6,7,8")
        )
        return [(many - few) / 6]

    def of_process(checkout: Checkout) -> Sequence[float]:
        words = checkout.words(f"pgolf.train {TINY}", "again")[1:]
        return [float(checkout.run(["-c", MANY_RUNS.format(words=words)]).stderr.split()[-1])]

    functions = [partial(measure, checkout) for measure in (of_sweep, of_process) for checkout in (base, here)]
    (sweep_base,), (sweep_here,), (process_base,), (process_here,) = in_turn(functions, rounds)
    print_row("one more job of a sweep", sweep_base, sweep_here, "s")
    print_row("one more run in one process", process_base, process_here, "s")
    print_row("a job over a run in one process", sweep_base - process_base, sweep_here - process_here, "s")


def time_study(base: Checkout, here: Checkout, rounds: int, words: Sequence[str]) -> None:
    """Print the row of `study`."""
    command = ["-m", "pgolf.train", *words, "paths.out=again"]
    functions = [partial(c.seconds, command, own_cache=False) for c in (base, here)]
    (theirs, _), (ours, _) = in_turn(functions, rounds)
    print_row(" ".join(words), theirs, ours, "s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="a checkout of the other commit")
    parser.add_argument(
        "--parts", nargs="+", choices=["steps", "commands", "jobs"], default=["steps", "commands", "jobs"]
    )
    parser.add_argument("--study", help="also time this command line of pgolf.train, for example 'study=low_rank_q'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps of training per round")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        base, here = Checkout(args.base.resolve(), Path(place) / "base"), Checkout(HERE, Path(place) / "here")
        print(f"{f'median of {args.rounds} rounds':<44} {'base':>10}    {'here':>9} {'':<5} {'ratio':>6}")
        if "steps" in args.parts:
            time_steps(base, here, args.rounds, threads=args.threads, steps=args.steps)
        if "commands" in args.parts:
            time_commands(base, here, args.rounds)
        if "jobs" in args.parts:
            time_jobs(base, here, args.rounds)
        if args.study:
            time_study(base, here, args.rounds, args.study.split())
    return 0


if __name__ == "__main__":
    sys.exit(main())
