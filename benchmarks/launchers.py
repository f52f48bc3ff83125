"""A sweep of six runs under several launchers: `python benchmarks/launchers.py basic joblib submitit_local [--numbers
FILE]`.

Every launcher must give the same scores. Printed are the command, its first and last line and its wall time, then the
ratio of each launcher's wall time to that of basic. With `--one-process`, the six runs are also trained in one process,
and the additional cost per job is printed. A launcher whose plugin needs its own environment (ray) is run from there,
with the same --numbers file, which holds the scores of the others.
"""

import argparse
import json
import pydoc_data.topics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE = (
    "model.width=64 model.layers=3 model.heads=4 model.kv_heads=2 train.seq_len=64 train.batch_tokens=1024 "
    "eval.max_targets=3000"
)
FIXED = "train.threads=1 train.val_every=0"
ARMS, SEEDS = ("tied", "factorized"), (1, 2, 3)
MANY_RUNS = """
import sys
from pgolf import train
for argv in {cells}:
    sys.argv[1:] = argv
    assert train.main() == 0
"""


def sweep(python: str, launcher: str, overrides: list[str], folder: Path) -> tuple[float, list[str]]:
    """(wall seconds, lines of output) of the sweep under one launcher."""
    swept = ["--multirun", f"model/head={','.join(ARMS)}", f"seed={','.join(map(str, SEEDS))}"]
    command = ["-m", "pgolf.train", *swept, f"hydra/launcher={launcher}", *overrides, f"paths.out={folder}"]
    print(f"\n$ python {' '.join(command[:5])} ...", flush=True)
    began = time.perf_counter()
    done = subprocess.run([python, *command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wall_s = time.perf_counter() - began
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert done.returncode == 0, done.stdout + done.stderr
    print(lines[0], lines[-1], f"{wall_s:.1f} s", sep="\n", flush=True)
    return wall_s, lines


def in_one_process(python: str, overrides: list[str], folder: Path) -> float:
    """Wall seconds of the six runs in one process."""
    cells = [[f"model/head={arm}", f"seed={seed}", *overrides, f"paths.out={folder}"] for arm in ARMS for seed in SEEDS]
    began = time.perf_counter()
    subprocess.run([python, "-c", MANY_RUNS.format(cells=cells)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def numbers(folder: Path) -> dict[str, Any]:
    """Arm and seed -> status, scores and size, which must be the same under every launcher."""
    values = {}
    for path in folder.glob("adhoc/*/seed*/result.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        key = f"{record['choices.model/head']} {record['seed']}"
        values[key] = [record["status"], record["val_bpb"], record["val_bpb_live"], record["model_bytes"]]
    return dict(sorted(values.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("launchers", nargs="+")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--one-process", action="store_true", help="also train the six runs in one process")
    parser.add_argument("--numbers", type=Path, help="compare with this file where it exists, and write it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        text = Path(root) / "topics.txt"
        text.write_text(
            "\n\n".join(value for _, value in sorted(pydoc_data.topics.topics.items()))[:250_000], encoding="utf-8"
        )
        data = ["data=text", "data.vocab_size=384", f"data.path={text}", f"paths.cache={root}/cache"]
        overrides = [*f"{SIZE} {FIXED} train.steps={args.steps}".split(), *data]
        subprocess.run([sys.executable, "-m", "pgolf.data", "prepare", *data], check=True)
        walls = {}
        known = json.loads(args.numbers.read_text(encoding="utf-8")) if args.numbers and args.numbers.exists() else None
        same = True
        for launcher in args.launchers:
            walls[launcher], _ = sweep(sys.executable, launcher, overrides, Path(root) / launcher)
            values = numbers(Path(root) / launcher)
            known = known or values
            same = same and values == known and len(values) == len(ARMS) * len(SEEDS)
            print(
                f"scores of {launcher}: {'equal' if values == known else f'DIFFERENT, {values} instead of {known}'}",
                flush=True,
            )
        if args.numbers and known:
            args.numbers.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        if args.one_process:
            alone = in_one_process(sys.executable, overrides, Path(root) / "alone")
            same = same and numbers(Path(root) / "alone") == known
            print(
                f"\nin one process: {alone:.1f} s, "
                f"{'equal scores' if numbers(Path(root) / 'alone') == known else 'DIFFERENT SCORES'}"
            )
            if "basic" in walls:
                print(
                    f"a job of the basic launcher costs {(walls['basic'] - alone) / 6:.1f} s more than the same run "
                    "in one process"
                )
        for launcher, wall_s in walls.items():
            if "basic" in walls and launcher != "basic":
                print(f"{launcher} / basic: {wall_s / walls['basic']:.2f} of the wall time")
        for key, (status, bpb, _, size) in (known or {}).items():
            print(f"  {key}: {status}, {bpb:.6f} bpb, {size:,} bytes")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
