"""How long modes of evaluation take, in two checkouts in turn: `python benchmarks/evaluation.py ARTIFACT --base FOLDER
[--rounds 3] [--targets N]`.

ARTIFACT is a packed model that both checkouts can read, scored on the validation text of the default corpus. FOLDER is
a checkout of another commit. Each checkout has one process, which loads model and text once and is warmed up. They
work in turn, so that a change of the machine's load meets both. All ratios refer to the first line, the base's sliding
evaluation. Printed are medians of wall and CPU seconds, targets per second, bits per byte, the mean difference to that
first line in nats per target, with its standard error over blocks of 1,024 targets, and the largest difference of one
target to the base's in the same mode.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[1]
WARM_UP, BLOCK = 2000, 1024  # targets
SCORER = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data, build_evaluation
from pgolf.config.command_line import compose_one
from pgolf.data.loaded import load_corpus
from pgolf.machine.ranks import Ranks
from pgolf.execution.artifact import unpack

artifact = unpack(Path(sys.argv[1]), torch.device("cpu"))
length, evaluations, corpus = artifact.section.seq_len, {}, None
for line in sys.stdin:
    task = json.loads(line)
    key = tuple(task["overrides"])
    if key not in evaluations:
        sizes = [f"train.seq_len={length}", f"train.batch_tokens={length}", "train.micro_batches=1", "device=cpu"]
        config = decide_auto(compose_one([*sizes, *task["overrides"]]).config, in_sweep=False)
        torch.set_num_threads(config.train.cpu_threads)
        corpus = corpus or load_corpus(build_data(config).prepare())
        config = replace(config, model=artifact.section)
        evaluations[key] = build_evaluation(config, corpus, Ranks())
    began, cpu = time.perf_counter(), time.process_time()
    score = evaluations[key](artifact.model)
    seconds = time.perf_counter() - began, time.process_time() - cpu
    np.save(task["file"], score.nats_per_target)
    print(json.dumps({"s": seconds[0], "cpu_s": seconds[1], "bpb": score.bpb, "targets": score.targets}), flush=True)
"""


class Checkout:
    """A process of one checkout that scores a packed model. folder: of the per-target scores."""

    def __init__(self, checkout: Path, artifact: Path, folder: Path):
        self.folder = folder
        self.modes = {path.stem for path in (checkout / "conf" / "eval").glob("*.yaml")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCORER, str(artifact)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )

    def score(self, mode: str, targets: int | None) -> dict[str, Any]:
        """Seconds, bits per byte and number of targets. Raises SystemExit if the process has ended."""
        overrides = [f"eval={mode}", f"eval.max_targets={'null' if targets is None else targets}"]
        assert self.process.stdin
        assert self.process.stdout
        task = {"overrides": overrides, "file": str(self.folder / mode)}
        print(json.dumps(task), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.folder.name} has ended while it scored eval={mode}")
        result: dict[str, Any] = json.loads(line)
        return result


def paired(nats_N: np.ndarray, base_N: np.ndarray) -> str:
    """The mean difference in nats per scored target, with its standard error over blocks of targets."""
    difference = (nats_N - base_N)[~np.isnan(base_N)]
    blocks = difference[: len(difference) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(1)
    error = blocks.std(ddof=1) / len(blocks) ** 0.5 if len(blocks) > 1 else float("nan")
    return f"{difference.mean():+.5f} ({error:.5f})"


def report(results: dict[tuple[str, str], list[dict[str, Any]]], folders: dict[str, Path]) -> None:
    """Print a line per mode and checkout. folders: those with the scores of every target."""
    first = next(iter(results))
    base_s, base_cpu_s = (statistics.median(r[key] for r in results[first]) for key in ("s", "cpu_s"))
    base_nats = np.load(folders[first[1]] / f"{first[0]}.npy")
    columns = ("s", "ratio", "CPU s", "ratio", "targets/s", "bpb", "difference (se)", "largest")
    print(f"{'mode':<16}" + "".join(f"{title:>{20 if 'se' in title else 11}}" for title in columns))
    for (mode, name), scores in results.items():
        wall_s, cpu_s = (statistics.median(r[key] for r in scores) for key in ("s", "cpu_s"))
        nats, same = np.load(folders[name] / f"{mode}.npy"), folders["base"] / f"{mode}.npy"
        largest = f"{np.nanmax(np.abs(np.load(same) - nats)):.1e}" if same.exists() else ""
        times = f"{wall_s:>11.2f}{base_s / wall_s:>10.2f}x{cpu_s:>11.2f}{base_cpu_s / cpu_s:>10.2f}x"
        score = f"{scores[0]['targets'] / wall_s:>11,.0f}{scores[0]['bpb']:>11.6f}{paired(nats, base_nats):>20}"
        print(f"{mode + ', ' + name:<16}{times}{score}{largest:>11}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--base", type=Path, required=True, help="a checkout of the other commit")
    parser.add_argument("--modes", nargs="+", default=["sliding", "rolling", "plain"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", type=int, help="score only this many, from the start")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        checkouts = {}
        for name, path in (("base", args.base.resolve()), ("here", HERE)):
            (folder := Path(place) / name).mkdir()
            checkouts[name] = Checkout(path, args.artifact.resolve(), folder)
        jobs = [(mode, name) for mode in args.modes for name in checkouts if mode in checkouts[name].modes]
        results: dict[tuple[str, str], list[dict[str, Any]]] = {job: [] for job in jobs}
        for mode, name in jobs:
            checkouts[name].score(mode, WARM_UP)
        for _ in range(args.rounds):
            for mode, name in jobs:
                results[mode, name].append(checkouts[name].score(mode, args.targets))
        report(results, {name: checkout.folder for name, checkout in checkouts.items()})
        for checkout in checkouts.values():
            assert checkout.process.stdin
            checkout.process.stdin.close()
            checkout.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
