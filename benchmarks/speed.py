"""How fast two checkouts are, in turn: `python benchmarks/speed.py --base FOLDER [--parts steps commands jobs]
[--rounds 5]`.

FOLDER is a checkout of another commit, for example of `git worktree add FOLDER COMMIT`. Each round executes every
command once in each checkout, so that a change of the machine's load meets both. The packages of both checkouts are
those of this interpreter, and the corpus is prepared before. Printed are medians over the rounds and the ratio
here / base, for times; below one is faster here.

steps: a step of training, scoring and packing, eager and compiled. Each checkout and form has a process that holds its
model, and the processes take single steps in turn. The ratio is the median of neighbouring steps, with its interval.
commands: wall and CPU seconds (user and system, children included) of whole commands. jobs: the seconds of one more
job of a sweep over one more run in one process. study: the wall time of `--study`, a command line of pgolf.train.
"""

import argparse
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

from pgolf.bench import ratio

PARTS = ["steps", "commands", "jobs"]
SCORES = 10  # of each model, and as many packings
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
STEPPER = """
import sys, tempfile, time
from pathlib import Path
from pgolf import bench
subject = bench.Subject(sys.argv[1:])
score = getattr(subject, "evaluation", None) or subject.context.evaluation
def pack_s():
    return 1000 * subject.figures([1.0])["pack_s"]
def eval_s():
    began = time.perf_counter()
    score(subject.model)
    return 1000 * (time.perf_counter() - began)
take = {"step": subject.step_ms, "eval": eval_s, "pack": pack_s}
for line in sys.stdin:
    print("ms", take[line.strip()](), flush=True)
"""
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
        environment = {**self.environment(), **cache}
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        )

    def environment(self) -> dict[str, str]:
        """The environment of a process that imports this checkout."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.path), *plugin_folders()])}

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


class Stepper:
    """A process that holds a model of a checkout and takes a step, scores or packs when told to."""

    def __init__(self, checkout: Checkout, words: Sequence[str]):
        self.process = subprocess.Popen(
            [sys.executable, "-c", STEPPER, *words],
            cwd=checkout.folder,
            env=checkout.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.take("step")  # waits until the model is built, and compiled

    def take(self, what: str) -> float:
        """The milliseconds of one `step`, `eval` or `pack`. Raises RuntimeError if the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        while line := self.process.stdout.readline():
            if line.startswith("ms "):
                return float(line.split()[1])
        raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def alternating(steppers: Sequence[Stepper], what: str, times: int) -> list[list[float]]:
    """The milliseconds of each process, which take turns; every second turn is in reverse order."""
    measured: list[list[float]] = [[] for _ in steppers]
    for number in range(times):
        for index in range(len(steppers)) if number % 2 == 0 else reversed(range(len(steppers))):
            measured[index].append(steppers[index].take(what))
    return measured


def time_steps(base: Checkout, here: Checkout, rounds: int, *, threads: int, steps: int) -> None:
    """Print the rows of `steps`: medians, and the median ratio of neighbouring steps with its 95% interval."""
    for overrides, name in MODELS.items():
        words = [*overrides.split(), f"train.threads={threads}", "eval.max_targets=10000"]
        steppers = []
        try:
            for checkout, compiled in ((base, "off"), (here, "off"), (base, "on"), (here, "on")):
                steppers.append(Stepper(checkout, [*words, f"train.compile={compiled}"]))
            alternating(steppers, "step", 2)
            step = alternating(steppers, "step", rounds * steps)
            score = alternating(steppers, "eval", max(SCORES, rounds))
            pack = alternating(steppers[:2], "pack", max(SCORES, rounds))
        finally:
            for stepper in steppers:
                stepper.end()
        title = f"{name}, {threads} threads"
        print_pair(f"{title}: step", step[0], step[1])
        print_pair(f"{title}: step, compiled here only", step[0], step[3])
        print_pair(f"{title}: step, compiled in both", step[2], step[3])
        print_pair(f"{title}: evaluation", score[0], score[1])
        print_pair(f"{title}: evaluation, compiled here only", score[0], score[3])
        print_pair(f"{title}: packing", pack[0], pack[1])


def print_pair(title: str, base: Sequence[float], here: Sequence[float]) -> None:
    """Print medians and the ratio of pairs."""
    middle, low, high = ratio(here, base)
    limits = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    before, after = statistics.median(base), statistics.median(here)
    print(f"{title:<52} {before:>10.1f} -> {after:>8.1f} ms    {middle:>6.3f}{limits}", flush=True)


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
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
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
