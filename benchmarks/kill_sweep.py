"""A sweep killed again and again, against one left in peace: `python benchmarks/kill_sweep.py [--kills 10] [--seed 1]`.

Six short runs with an average, momentum warm-up, late fake quantization and shuffling are swept once undisturbed and once under SIGKILL
at random moments: to the supervisor alone, to a worker alone, to both. After each kill the same command is given again. At the end there
must be exactly six `ok` records, equal to the undisturbed ones but for times, no line twice in any metrics.jsonl, and no process left.
Takes about five minutes on two cores. Exit code 1 where anything differs. Leave the checkout alone meanwhile: a sweep stops when its code
changes.
"""

import argparse
import json
import os
import pydoc_data.topics
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEP = "model/head=tied,factorized seed=1,2,3"
MODEL = "model.width=64 model.layers=3 model.heads=4 model.kv_heads=2"
TRAIN = "train.steps=300 train.seq_len=64 train.batch_tokens=512 train.log_every=5 train.val_every=50 train.qat_below=0.5"
FEATURES = "optim/averaging=ema optim.roles.matrix.momentum_warmup_steps=100 data.shuffle_seed=${seed} launch.checkpoint_s=0.3"
TIMED = ("_s", "_ms", "_ms_median", "tokens_per_s", "ended_at", "peak_mem_bytes")  # ends of keys that depend on the clock or the machine
KINDS = ("supervisor", "worker", "both")


def children(pid: int) -> list[int]:
    """Process ids below one, the nearest first."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    below: dict[int, list[int]] = {}
    for line in listed:
        if line.strip():
            child, parent = map(int, line.split())
            below.setdefault(parent, []).append(child)
    found, todo = [], [pid]
    while todo:
        todo = [child for parent in todo for child in below.get(parent, [])]
        found += todo
    return found


def leftovers(folder: Path) -> list[str]:
    """Processes of pgolf that work in a folder."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in listed if "-m pgolf." in line and Path(f"/proc/{line.split()[0]}/cwd").resolve() == folder.resolve()]


def start(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)


def kill(sweep: "subprocess.Popen[bytes]", kind: str) -> bool:
    """Whether there was something of this kind to kill."""
    workers = children(sweep.pid)
    victims = {"supervisor": [sweep.pid], "worker": workers, "both": [sweep.pid, *workers]}[kind]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return bool(victims)


def disturbed(command: list[str], folder: Path, kills: int, dice: random.Random) -> list[str]:
    """Give the command, kill, give it again, until it ends by itself after so many kills. What was done."""
    done: list[str] = []
    kinds = [KINDS[number % len(KINDS)] for number in range(kills)]
    dice.shuffle(kinds)
    while True:
        sweep = start(command, folder)
        until = time.monotonic() + dice.uniform(3, 14)
        while sweep.poll() is None and (len(done) == kills or time.monotonic() < until):
            time.sleep(0.02)
        if sweep.poll() is None:
            kind = kinds[len(done)]
            if kill(sweep, kind):
                done.append(kind)
            if kind == "worker":
                continue_until = time.monotonic() + 2  # the supervisor lives on and records the failure
                while sweep.poll() is None and time.monotonic() < continue_until:
                    time.sleep(0.02)
                if sweep.poll() is None:
                    sweep.kill()
        sweep.wait()
        if len(done) == kills and sweep.returncode == 0:
            return done


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """{run folder: record}, without what the clock or the machine decides."""
    found = {}
    for path in sorted(folder.glob("multirun/adhoc/*/seed*/result.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.relative_to(folder).as_posix()] = {k: v for k, v in record.items() if not k.endswith(TIMED)}
    return found


def lines(path: Path) -> list[tuple[Any, ...]]:
    """Events of a run, by kind and step; `continued` is said at every start and counts for nothing."""
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(e["event"], e.get("step"), e.get("train_nats"), e.get("val_bpb_live")) for e in events if e["event"] != "continued"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the victims")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        text = Path(root) / "topics.txt"
        topics = sorted(pydoc_data.topics.topics.items())
        text.write_text("\n\n".join(value for _, value in topics)[:250_000], encoding="utf-8")
        data = f"data=text data.path={text} data.vocab_size=384 paths.cache={root}/cache eval.max_targets=3000 train.threads=1"
        command = [sys.executable, "-m", "pgolf.train", "--multirun", *f"{SWEEP} {MODEL} {TRAIN} {FEATURES} {data}".split()]
        peace, war = Path(root) / "peace", Path(root) / "war"
        peace.mkdir()
        war.mkdir()
        began = time.monotonic()
        code = start(command, peace).wait()
        print(f"undisturbed: exit code {code}, {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        kills = disturbed(command, war, args.kills, random.Random(args.seed))
        print(f"killed {len(kills)} times ({', '.join(kills)}): {time.monotonic() - began:.0f} s", flush=True)
        time.sleep(1)
        return judge(peace, war)


def judge(peace: Path, war: Path) -> int:
    """Say what differs. 0 where nothing does."""
    wanted, found, bad = records(peace), records(war), []
    if {name: r["status"] for name, r in found.items()} != dict.fromkeys(wanted, "ok") or len(wanted) != 6:
        bad.append(f"records: {[r['status'] for r in wanted.values()]} and {[r['status'] for r in found.values()]}")
    for name in wanted.keys() & found.keys():
        differ = [key for key in wanted[name].keys() | found[name].keys() if wanted[name].get(key) != found[name].get(key)]
        bad += [f"{name}: {key} {wanted[name].get(key)} {found[name].get(key)}" for key in sorted(differ)]
        there, here = lines(peace / name / "metrics.jsonl"), lines(war / name / "metrics.jsonl")
        if there != here or len(set(here)) != len(here):
            bad.append(f"{name}: metrics.jsonl has {len(here)} lines, {len(set(here))} of them different, for {len(there)}")
        if (peace / name / "artifact.pgolf").read_bytes() != (war / name / "artifact.pgolf").read_bytes():
            bad.append(f"{name}: another artifact")
    bad += [f"still running: {line}" for line in leftovers(war)]
    continued = (war / "output.txt").read_text(encoding="utf-8").count("continues at step")
    print(f"{len(found)} records, {continued} times a run went on from a checkpoint")
    print(*bad, "DIFFERENT" if bad else "equal: every record, event and artifact, but for times", sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
