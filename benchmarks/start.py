"""How long commands take before and beside the training, in two checkouts in turn: `python benchmarks/start.py --base
FOLDER [--rounds 5]`.

FOLDER is a checkout of another commit, for example of `git worktree add FOLDER COMMIT`. Each round executes every
command once in each checkout, so that a change of the machine's load meets both. Printed are the medians of the wall
time and of the CPU time (user and system, children included) in seconds, and the ratio of the medians. The corpus is
prepared before; the packages of both checkouts are those of this interpreter.
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


def command_of(title: str, folder: Path, out: str) -> list[str]:
    """The words of a command. out: the folder of its runs."""
    data = [f"data.path={folder}/topics.txt", "data=text", "data.vocab_size=400", f"paths.out={out}"]
    return [*COMMANDS[title].split(), *(data if TINY in COMMANDS[title] else [])]


def measure(command: list[str], checkout: Path, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command in an empty place. Raises CalledProcessError."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PGOLF_CACHE": str(folder / "cache")}
    subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="a checkout of the other commit")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    checkouts = {"base": args.base.resolve(), "here": HERE}
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in checkouts}
        text = "\n\n".join(value for _, value in sorted(pydoc_data.topics.topics.items()))[:250_000]
        for name, folder in folders.items():
            folder.mkdir()
            (folder / "topics.txt").write_text(text, encoding="utf-8")
            for title in COMMANDS:  # prepares the corpus and compiles the modules
                measure(command_of(title, folder, "runs"), checkouts[name], folder)
        print(f"{'median of ' + str(args.rounds):<28} {'wall s':>22} {'ratio':>7} {'CPU s':>22} {'ratio':>7}")
        for title in COMMANDS:
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
            for _ in range(args.rounds):
                for name, checkout in checkouts.items():
                    shutil.rmtree(folders[name] / "again", ignore_errors=True)
                    command = command_of(title, folders[name], "again")
                    times[name].append(measure(command, checkout, folders[name]))
            row = [f"{title:<28}"]
            for kind in (0, 1):
                base, here = (statistics.median(t[kind] for t in times[name]) for name in ("base", "here"))
                row.append(f"{base:>10.2f} -> {here:>8.2f} {here / base:>7.2f}")
            print(" ".join(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
