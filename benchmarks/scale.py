"""How cost grows: `python benchmarks/scale.py [--parts runs,configurations,arms,tokens,width,records] [--rounds 1]`.

    runs             a sweep of small runs of two steps: pgolf.train --multirun seed=1,2,...
    configurations   the dry run of a sweep: composed, checked and counted, not run
    arms             pgolf.aggregate over 3,000 rows, in more and more arms of fewer seeds
    tokens           training steps of 1,024 tokens in one process
    width            a training step, by the width of the model; heads of 32 dims
    records          pgolf.aggregate over run folders with records as large as real ones, three seeds per arm

Each is measured at three sizes. Printed are CPU seconds (user and system, of all threads and children; the smallest of
--rounds), the exponent p of a power law, seconds = a size^p, by least squares in logarithms, that of the two largest
sizes alone, which a fixed cost disturbs less, and the peak memory of the largest size. --sizes replaces the sizes of
the named part: `--parts records --sizes 1000 10000 100000`.
"""

import argparse
import os
import pydoc_data.topics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aggregate import make
from big_inputs import write_rows

from pgolf.bench import WARM_UP_STEPS, Subject

SMALL_RUN = (
    "model.width=32 model.layers=2 model.heads=2 model.kv_heads=1 train.steps=2 train.seq_len=32 "
    "train.batch_tokens=256 train.val_every=0 train.threads=1 eval.max_targets=3000"
)
STEP = "model.layers=4 model.heads=4 train.seq_len=256 train.batch_tokens=1024 train.micro_batches=1 train.threads=1"
# A small process starts the command: Linux counts the memory of the parent as that of a child before it is a command.
MEASURE = """
import os, resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", *sys.argv[1:]]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(end=f"\\n{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
sys.exit(code)
"""
ROWS, KEYS, SEEDS = 3000, 170, 3
HEAD_DIM = 32


@dataclass(frozen=True)
class Cost:
    """cpu_s: of all threads and children. peak_bytes: resident memory of the process, 0 where it was not measured."""

    cpu_s: float
    peak_bytes: int = 0


def cost_of(words: list[str], folder: Path) -> Cost:
    """The cost of a command of pgolf. Raises SystemExit with its last lines if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {(done.stdout + done.stderr)[-800:]}")
    cpu_s, peak = done.stdout.rpartition("\n")[2].split()
    return Cost(float(cpu_s), int(peak) * (1 if sys.platform == "darwin" else 1024))


def data_in(folder: Path) -> list[str]:
    """Overrides for a small corpus from Python's own help texts, in a folder."""
    path = folder / "topics.txt"
    if not path.exists():
        text = "\n\n".join(value for _, value in sorted(pydoc_data.topics.topics.items()))
        path.write_text(text[:250_000], encoding="utf-8")
    return ["data=text", "data.vocab_size=400", f"data.path={path}", f"paths.cache={folder}/cache"]


def sweep_of(runs: int, folder: Path, *more: str) -> Cost:
    """A sweep of so many runs that differ in their seed."""
    seeds = ",".join(map(str, range(1, runs + 1)))
    data = data_in(folder)
    cost_of(["pgolf.data", "prepare", *data], folder)
    out = tempfile.mkdtemp(dir=folder)
    return cost_of(
        ["pgolf.train", "--multirun", f"seed={seeds}", *SMALL_RUN.split(), *data, f"paths.out={out}", *more], folder
    )


def arms(number: int, folder: Path) -> Cost:
    path = write_rows(folder, ROWS, number)
    return cost_of(["pgolf.aggregate", str(path), "--quiet", "--out", str(folder / "out")], folder)


def records(number: int, folder: Path) -> Cost:
    make(folder, number, SEEDS, KEYS)
    return cost_of(["pgolf.aggregate", str(folder), "--quiet"], folder)


def steps_of(steps: int, width: int, folder: Path) -> Cost:
    """Training steps of a model of some width, in this process, after a warm-up."""
    heads = max(width // HEAD_DIM, 1)
    sizes = [f"model.width={width}", f"model.heads={heads}", f"model.kv_heads={max(heads // 2, 1)}"]
    subject = Subject([*STEP.split(), *sizes, *data_in(folder)])
    for _ in range(WARM_UP_STEPS):
        subject.step_ms()
    began = time.process_time()
    for _ in range(steps):
        subject.step_ms()
    return Cost(time.process_time() - began)


PARTS: dict[str, tuple[tuple[int, ...], Callable[[int, Path], Cost]]] = {
    "runs": ((4, 12, 36), sweep_of),
    "configurations": ((10, 30, 90), lambda number, folder: sweep_of(number, folder, "launch.dry_run=true")),
    "arms": ((10, 100, 1000), arms),
    "tokens": ((10, 30, 90), lambda steps, folder: steps_of(steps, 128, folder)),
    "width": ((128, 256, 512), lambda width, folder: steps_of(10, width, folder)),
    "records": ((1_000, 10_000, 100_000), records),
}
UNITS = {"tokens": 1024}  # of a size


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """p of seconds = a size^p, by least squares in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    parts = args.parts.split(",")
    if unknown := sorted(set(parts) - PARTS.keys()):
        parser.error(f"--parts: no such part ({', '.join(unknown)}). Choose from {', '.join(PARTS)}")
    if args.sizes and (len(parts) > 1 or len(set(args.sizes)) < 2 or min(args.sizes) < 1):
        parser.error("--sizes: needs one part, and two or more different sizes of at least 1")
    os.fsync = lambda handle: None  # the inputs of this benchmark need not outlive a power failure
    print("| part | sizes | CPU s | exponent | of the two largest | peak, MB |\n| --- | --- | --- | --- | --- | --- |")
    for part in parts:
        sizes, measure = list(args.sizes or PARTS[part][0]), PARTS[part][1]
        costs = []
        for size in sizes:
            rounds = []
            for _ in range(args.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    rounds.append(measure(size, Path(folder)))
            costs.append(min(rounds, key=lambda cost: cost.cpu_s))
            print(f"{part} {size:,}: {costs[-1].cpu_s:.2f} s", file=sys.stderr, flush=True)
        seconds, shown = [cost.cpu_s for cost in costs], [size * UNITS.get(part, 1) for size in sizes]
        print(
            f"| {part} | {', '.join(f'{size:,}' for size in shown)} | {', '.join(f'{s:.2f}' for s in seconds)} | "
            f"{exponent(sizes, seconds):.2f} | {exponent(sizes[-2:], seconds[-2:]):.2f} | "
            f"{f'{costs[-1].peak_bytes / 1e6:,.0f}' if costs[-1].peak_bytes else ''} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
