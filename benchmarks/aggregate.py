"""Seconds that `python -m pgolf.aggregate` takes for 10,000 records, including the start of Python.

    python benchmarks/aggregate.py [--records 10000] [--seeds 5] [--keys 170]

The records are written to a temporary folder before the clock starts: `--records / --seeds` arms of `--seeds` seeds.
Each record is as large as a real one (configuration keys, source files, measured fields).
"""

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from pgolf.records.record import write_record

PER_STUDY = 100  # arms per study


def record(study: str, arm: str, number: int, seed: int, keys: int, draw: random.Random) -> dict[str, object]:
    """A record of one run. number: of its arm; keys: number of configuration keys; draw: source of its scores."""
    size = 500_000 + draw.randrange(1000)
    bpb = draw.gauss(1.2 + 0.001 * (number % 17), 0.002)
    config = {f"config.section{k % 10}.key{k}": k for k in range(keys)} | {
        "config.model.head.rank": number,
        "config.data.shuffle_seed": seed,
    }
    return {
        "status": "ok",
        "error": None,
        "study": study,
        "arm": arm,
        "fingerprint": f"{number:016x}"[::-1],
        "overrides": ["model/head=mos", f"model.head.rank={number}"],
        **{f"choices.group{k}": "choice" for k in range(20)},
        "seed": seed,
        "git_sha": "a" * 40,
        "git_dirty": False,
        **{f"versions.library{k}": "1.2.3" for k in range(6)},
        "code_sha": "b" * 64,
        "code_files": [f"nn/module{k}/file.py" for k in range(60)],
        "data_sha": "c" * 64,
        "val_text_sha": "d" * 64,
        "device": "cpu",
        "params.total": 100_000 + number,
        "params.frozen": 0,
        "params.trained": 100_000 + number,
        "params.head": 100_000 + number,
        "steps": 100,
        "step_ms_median": draw.uniform(20, 30),
        "val_bpb": bpb,
        "val_nats": bpb * math.log(2) * 120_000 / 50_000,
        "val_targets": 50_000,
        "val_bytes": 120_000,
        "eval_mode": "plain256",
        "total_bytes": size,
        "model_bytes": size - 300_000,
        "code_bytes": 300_000,
        "cap_bytes": 16_000_000,
        "tokens": 409_600,
        "train_s": draw.uniform(2, 3),
        "ended_at": 1.0,
        **dict.fromkeys(("tokens_per_s", "qat_from_step", "quant_gap_bpb", "val_bpb_live", "val_bpb_averaged")),
        "under_cap": True,
        **{
            f"budget.{key}": value
            for key, value in (("steps", 100), ("tokens", None), ("seconds", None), ("batch_tokens", 4096))
        },
        "warnings": [],
        **config,
    }


def make(root: Path, records: int, seeds: int, keys: int) -> None:
    """Write run folders with records, and the plan of each study, below `root`."""
    draw = random.Random(0)
    cells: dict[str, list[PlannedRun]] = {}
    for number in range(records // seeds):
        study, arm = f"study{number // PER_STUDY}", f"head=mos,model.head.rank={number}"
        for seed in range(1, seeds + 1):
            row = record(study, arm, number, seed, keys, draw)
            name = f"{arm}/seed{seed}-{str(row['fingerprint'])[:8]}"
            (root / study / name).mkdir(parents=True)
            write_record(root / study / name, row)
            cells.setdefault(study, []).append(PlannedRun(study, arm, seed, str(row["fingerprint"]), name))
    for study, planned in cells.items():
        add_to_plan(root / study, Sweep((study,), 0.0, "b" * 64, False, tuple(planned)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("records", 10_000), ("seeds", 5), ("keys", 170)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.records, args.seeds, args.keys)
        os.sync()  # so that the disk is idle while the clock runs
        start, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        result = subprocess.run(
            [sys.executable, "-m", "pgolf.aggregate", folder, "--quiet"], capture_output=True, text=True, check=True
        )
        wall_s, cpu = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu
        rows = [json.loads(line)["status"] for line in (Path(folder) / "results.jsonl").open()]
        size = (Path(folder) / "results.jsonl").stat().st_size
    print(result.stdout.strip())
    print(
        f"{rows.count('ok'):,} records, {args.records // args.seeds:,} arms, {size / 1e6:.0f} MB: {wall_s:.2f} s "
        f"({cpu:.2f} s of CPU time)"
    )


if __name__ == "__main__":
    main()
