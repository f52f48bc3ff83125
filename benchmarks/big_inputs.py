"""Seconds and peak memory of `aggregate` and `report` on very large inputs. Each must end, with a result or a reason.

    python benchmarks/big_inputs.py [--case rows,seeds,record,metrics,curves] [--rows 100000] [--record-mb 50]
                                    [--points 1000000]

    rows      a file of --rows rows, with three seeds per arm
    seeds     a file of --rows rows, with three arms
    record    three records, one of which has --record-mb megabytes
    metrics   three runs with --points logged points each
    curves    a file of rows, and its curves of --points points each

The inputs are written to a temporary folder before the clock starts. A command is stopped after --limit-s seconds.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aggregate import make, record

from pgolf.records.record import METRICS

KEYS = 20  # additional configuration keys of a row
ARMS = 3


def row(number: int, seed: int, draw: random.Random) -> dict[str, Any]:
    arm = f"head=mos,model.head.rank={number}"
    fields = {**record("big", arm, number, seed, KEYS, draw), "schema_version": 1, "row_version": 1, "planned": None}
    return fields | {"folder": f"{arm}/seed{seed}-{str(fields['fingerprint'])[:8]}"}


def write_rows(folder: Path, rows: int, arms: int) -> Path:
    draw, path = random.Random(0), folder / "results.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for at in range(rows):
            file.write(json.dumps(row(at % arms, at // arms + 1, draw)) + "\n")
    return path


def run_folders(folder: Path) -> list[Path]:
    make(folder, ARMS, ARMS, KEYS)
    return sorted(path.parent for path in folder.rglob("result.json"))


def large_record(folder: Path, megabytes: int) -> Path:
    path = run_folders(folder)[0] / "result.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(fields | {"warnings": ["x" * 1000] * (1000 * megabytes)}), encoding="utf-8")
    return folder


def events(points: int) -> Iterator[str]:
    for step in range(1, points + 1):
        bpb = 1.2 + 100 / (step + 100)
        yield (
            json.dumps(
                {
                    "event": "train",
                    "step": step,
                    "tokens": step * 4096,
                    "train_bpb": bpb,
                    "train_nats": bpb,
                    "lr_scale": 1.0,
                }
            )
            + "\n"
        )
        if step % 1000 == 0:
            yield json.dumps({"event": "val", "step": step, "val_bpb_live": bpb}) + "\n"


def long_metrics(folder: Path, points: int) -> Path:
    for run in run_folders(folder):
        with (run / METRICS).open("w", encoding="utf-8") as file:
            file.writelines(events(points))
    return folder


def long_curves(folder: Path, points: int) -> Path:
    path, draw = write_rows(folder, ARMS, 1), random.Random(0)
    steps = list(range(1, points + 1))
    scores = [round(1.2 + 100 / (step + 100), 5) for step in steps]
    with (folder / "curves.jsonl").open("w", encoding="utf-8") as file:
        for seed in range(1, ARMS + 1):
            run = {key: row(0, seed, draw)[key] for key in ("study", "arm", "seed", "fingerprint")}
            train = {
                "train_steps": steps,
                "train_tokens": [4096 * s for s in steps],
                "train_bpb": scores,
                "train_nats": scores,
            }
            file.write(json.dumps(run | train | {"val_steps": steps[::1000], "val_bpb_live": scores[::1000]}) + "\n")
    return path


def measure(words: list[str], limit_s: float) -> str:
    """Seconds, peak memory, exit code and last line of one command."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", *words], stdout=output, stderr=output)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid or time.perf_counter() - start > limit_s:
                break
            time.sleep(0.05)
        if not pid:
            child.kill()
            _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    outcome = f"exit code {child.returncode}" if pid else f"stopped after {limit_s:g} s"
    return f"{wall_s:7.1f} s {peak / 2**20:8,.0f} MB  {outcome}: {lines[-1][:150] if lines else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 100_000), ("record-mb", 50), ("points", 1_000_000), ("limit-s", 600)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--case", default="rows,seeds,record,metrics,curves")
    args = parser.parse_args()
    cases: dict[str, Callable[[Path], Path]] = {
        "rows": lambda folder: write_rows(folder, args.rows, args.rows // ARMS),
        "seeds": lambda folder: write_rows(folder, args.rows, ARMS),
        "record": lambda folder: large_record(folder, args.record_mb),
        "metrics": lambda folder: long_metrics(folder, args.points),
        "curves": lambda folder: long_curves(folder, args.points),
    }
    for case in args.case.split(","):
        with tempfile.TemporaryDirectory() as name:
            source = cases[case](Path(name))
            size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
            print(f"{case}: {size / 1e6:,.0f} MB of input", flush=True)
            for words in (
                ["pgolf.aggregate", str(source), "--quiet", "--out", f"{name}/out"],
                ["pgolf.report", str(source)],
            ):
                print(f"  {words[0]:16} {measure(words, args.limit_s)}", flush=True)
            page = next(Path(name).glob("*.html"), None)
            print(f"  HTML page: {page.stat().st_size / 1e6:,.1f} MB" if page else "  HTML page: none", flush=True)


if __name__ == "__main__":
    main()
