"""A sweep that is killed many times, compared with an undisturbed one: `python benchmarks/kill_sweep.py [--launcher
basic joblib submitit_local]`.

Four short runs with an average, momentum warm-up, late fake quantization and shuffling are swept once undisturbed.
Then they are swept under every launcher while SIGKILL hits the command, one worker, one of the launcher's own
processes, or all of them. Each kill waits for a phase: the command starting or composing, or a worker starting,
training, writing a checkpoint, scoring, packing or recording. In a long phase it strikes at a random moment. After
each kill the same command is repeated. In the end all runs must have the status `ok`, occur once, and equal the
undisturbed ones except for times. A metrics.jsonl may not repeat a line, and no process may be left. If a sweep is
complete before all kills have happened, a new sweep begins.

Takes about five minutes per launcher on two cores. Exit code 1 if anything differs. Do not change the code meanwhile: a
sweep stops when its code changes. Linux only: processes are found in /proc.
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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
SWEEP = "model/head=tied,factorized seed=1,2"
MODEL = "model.width=64 model.layers=3 model.heads=4 model.kv_heads=2"
TRAIN = (
    "train.steps=160 train.seq_len=64 train.batch_tokens=512 train.log_every=5 train.val_every=50 train.qat_below=0.5"
)
FEATURES = (
    "optim/averaging=ema optim.roles.matrix.momentum_warmup_steps=100 data.shuffle_seed=${seed} launch.checkpoint_s=0.2"
)
PARALLEL = {"basic": "", "joblib": "hydra.launcher.n_jobs=2", "submitit_local": "hydra.launcher.timeout_min=60"}
# Endings of record keys that depend on the clock or the machine.
TIMED = ("_s", "_ms", "_ms_median", "tokens_per_s", "ended_at", "peak_mem_bytes")
KINDS = {
    "basic": ("command", "worker", "all"),
    "joblib": ("command", "worker", "job", "all"),
    "submitit_local": ("command", "worker", "job", "all"),
}
JOBS = ("loky.backend.popen", "submitit.core._submit")  # in the command line of a launcher's own processes
AIMS = ("starting", "composing", "worker starting", "training", "checkpointing", "scoring", "packing", "recording")
# Longest random delay of a kill within a phase, in seconds.
RANDOM_S = {"starting": 0.5, "composing": 0.3, "worker starting": 1.5, "training": 2.0, "scoring": 0.05}
LOOK_S = 0.3  # between two listings of processes, which take too long for a phase of milliseconds
PATIENCE_S = 15.0  # after which a kill happens in any phase; less than a sweep takes, or the kill would wait for ever
ENDING_S = 120.0  # that a scheduler's jobs have to end after the last command
MOST_COMMANDS = 8  # that are given after the last kill


@dataclass
class Round:
    """One sweep's folder, and the kills that its commands took: (kind, phases)."""

    folder: Path
    kills: list[tuple[str, list[str]]] = field(default_factory=list)


def processes(folder: Path) -> dict[int, str]:
    """Process id -> command line of the processes whose working directory is in a folder."""
    command_lines = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(place / "cwd")).is_relative_to(folder):
                command_lines[int(place.name)] = (
                    (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
                )
        except OSError:  # the process has ended
            continue
    return {pid: args for pid, args in command_lines.items() if args}  # that of a zombie is empty


def start(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment)


def newer(path: Path, since: float) -> bool:
    try:
        return path.stat().st_mtime >= since
    except OSError:
        return False


def tail(path: Path) -> str:
    """The last line of a text file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 600))
            return file.read().decode("utf-8", errors="replace").rstrip("\n").rpartition("\n")[2]
    except OSError:
        return ""


def phase_of(run: Path, since: float) -> str:
    """The phase of the worker of a run folder, from the files that it has written since."""
    partial = [
        path.name for path in (*run.glob(".*.partial"), *run.glob("checkpoint/.*.partial")) if newer(path, since)
    ]
    if any(name.startswith(".state.pt") for name in partial):
        return "checkpointing"
    if not newer(run / "train.log", since):
        return "worker starting"
    line = tail(run / "train.log")
    if any(name.startswith(".result.json") for name in partial) or '"event": "final"' in tail(run / "metrics.jsonl"):
        return "recording"
    if line == "packing":
        return line
    return "scoring" if line.startswith("scoring") else "training"


def phases(folder: Path, command: int, since: float) -> list[str]:
    """The phase of the command or, once they have started, the phases of its runs."""
    runs = [
        path.parent
        for path in folder.glob("multirun/adhoc/*/seed*/config.yaml")
        if not newer(path.parent / "result.json", since)
    ]
    active = [run for run in runs if newer(run / "config.yaml", since)]
    if active:
        return sorted(phase_of(run, since) for run in active)
    if newer(folder / "multirun/adhoc/sweep.json", since):
        return ["between runs"]
    try:
        return ["composing" if b"libtorch_cpu" in Path(f"/proc/{command}/maps").read_bytes() else "starting"]
    except OSError:
        return ["ended"]


def strike(sweep: "subprocess.Popen[bytes]", there: dict[int, str], kind: str, dice: random.Random) -> bool:
    """Kill processes of a kind. Returns whether there was one. there: process id -> command line."""
    if kind == "command":
        victims = [sweep.pid]
    elif kind == "all":
        victims = list(there)
    else:
        marks = JOBS if kind == "job" else (" pgolf.sweep.worker ",)
        candidates = sorted(pid for pid, args in there.items() if any(mark in args for mark in marks))
        victims = [dice.choice(candidates)] if candidates else []
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(victims)


def disturbed(command: list[str], at: Round, todo: list[tuple[str, str]], dice: random.Random) -> bool:
    """Repeat the command and kill it, until it ends with exit code 0. Returns whether it did."""
    extra = 0
    while extra < MOST_COMMANDS:
        extra += not todo
        sweep, since = start(command, at.folder), time.time()
        while sweep.poll() is None and todo:
            kind, aim = todo[0]
            until, looked, there = time.monotonic() + PATIENCE_S, 0.0, dict[int, str]()
            while (
                sweep.poll() is None
                and aim not in (hit := phases(at.folder, sweep.pid, since))
                and time.monotonic() < until
            ):
                if time.monotonic() - looked > LOOK_S:
                    looked, there = time.monotonic(), processes(at.folder)
            if aim in RANDOM_S:
                time.sleep(dice.uniform(0, RANDOM_S[aim]))
                hit, there = phases(at.folder, sweep.pid, since), processes(at.folder)
            if sweep.poll() is None and strike(sweep, there, kind, dice):
                at.kills.append((kind, hit))
                todo.pop(0)
                time.sleep(0.1)
        sweep.wait()
        if sweep.returncode == 0:
            return True
    return False


def runs_of(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(run folder, record without the fields that depend on the clock or the machine)."""
    for path in sorted(folder.glob("multirun/adhoc/*/seed*/result.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        yield path.parent.relative_to(folder).as_posix(), {k: v for k, v in record.items() if not k.endswith(TIMED)}


def lines(path: Path) -> list[tuple[Any, ...]]:
    """The events of a run with step and scores, without `continued`, which is logged at every start."""
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        (e["event"], e.get("step"), e.get("train_nats"), e.get("val_bpb_live"))
        for e in events
        if e["event"] != "continued"
    ]


def problems(peace: Path, war: Path) -> list[str]:
    """The differences between an undisturbed sweep and a killed one."""
    expected, actual = dict(runs_of(peace)), dict(runs_of(war))
    bad = []
    if {name: r["status"] for name, r in actual.items()} != dict.fromkeys(expected, "ok") or len(expected) != 4:
        bad.append(f"records: {[r['status'] for r in expected.values()]} and {[r['status'] for r in actual.values()]}")
    for name in expected.keys() & actual.keys():
        keys = expected[name].keys() | actual[name].keys()
        differ = [key for key in keys if expected[name].get(key) != actual[name].get(key)]
        bad += [f"{name}: {key} {expected[name].get(key)} {actual[name].get(key)}" for key in sorted(differ)]
        there, here = lines(peace / name / "metrics.jsonl"), lines(war / name / "metrics.jsonl")
        if there != here or len(set(here)) != len(here):
            bad.append(
                f"{name}: metrics.jsonl has {len(here)} lines, {len(set(here))} different ones, instead of {len(there)}"
            )
        if (peace / name / "artifact.pgolf").read_bytes() != (war / name / "artifact.pgolf").read_bytes():
            bad.append(f"{name}: the artifacts differ")
    bad += [f"left behind: {path}" for path in war.glob("multirun/**/.*.partial")]
    output = (war / "output.txt").read_text(encoding="utf-8", errors="replace")
    return bad + (["output.txt has a traceback"] if "Traceback" in output else [])


def campaign(launcher: str, command: list[str], root: Path, peace: Path, args: argparse.Namespace) -> bool:
    """Sweep under one launcher until all kills have happened. Returns whether all sweeps equal the undisturbed one."""
    dice = random.Random(f"{args.seed} {launcher}")
    aims = [AIMS[number % len(AIMS)] for number in range(args.kills)]
    kinds = KINDS[launcher]
    todo = [(kinds[number % len(kinds)], aim) for number, aim in enumerate(dice.sample(aims, len(aims)))]
    began, rounds, bad = time.monotonic(), list[Round](), list[str]()
    options = [f"hydra/launcher={launcher}", *PARALLEL.get(launcher, "").split()]
    while todo and not bad:
        at = Round(root / f"{launcher}-{len(rounds) + 1}")
        at.folder.mkdir()
        rounds.append(at)
        if not disturbed([*command, *options], at, todo, dice):
            bad.append(f"the command does not end with exit code 0: {at.folder / 'output.txt'}")
        until = time.monotonic() + ENDING_S
        while processes(at.folder) and time.monotonic() < until:
            time.sleep(0.2)
        bad += problems(peace, at.folder) + [f"still running: {args}" for args in processes(at.folder).values()]
    kills = [kill for at in rounds for kill in at.kills]
    continued = sum(
        (at.folder / "output.txt").read_text(encoding="utf-8", errors="replace").count("continues at step")
        for at in rounds
    )
    print(f"\n{launcher}: {len(kills)} kills, {len(rounds)} sweeps, {time.monotonic() - began:.0f} s")
    print("  killed:", ", ".join(f"{kind} {count}" for kind, count in Counter(kind for kind, _ in kills).items()))
    print(
        "  phases hit:",
        ", ".join(f"{name} {count}" for name, count in Counter(p for _, hit in kills for p in hit).most_common()),
    )
    print(f"  {continued} times a run resumed from a checkpoint")
    print(
        *(f"  {text}" for text in bad or ["equal: every record, event and artifact, except for times"]),
        sep="\n",
        flush=True,
    )
    return not bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launcher", nargs="+", default=["basic"], choices=sorted(PARALLEL))
    parser.add_argument("--kills", type=int, default=16, help="number of kills per launcher (16)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments and victims of the kills (1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the sweeps, in this new folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve() if args.keep is None else args.keep.resolve()
        peace = root / "peace"
        peace.mkdir(parents=True)
        text = root / "topics.txt"
        topics = sorted(pydoc_data.topics.topics.items())
        text.write_text("\n\n".join(value for _, value in topics)[:250_000], encoding="utf-8")
        data = (
            f"data=text data.path={text} data.vocab_size=384 paths.cache={root}/cache eval.max_targets=3000 "
            "train.threads=1"
        )
        command = [
            sys.executable,
            "-m",
            "pgolf.train",
            "--multirun",
            *f"{SWEEP} {MODEL} {TRAIN} {FEATURES} {data}".split(),
        ]
        began = time.monotonic()
        code = start(command, peace).wait()
        print(f"undisturbed: exit code {code}, {time.monotonic() - began:.0f} s", flush=True)
        results = [campaign(launcher, command, root, peace, args) for launcher in args.launcher]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
