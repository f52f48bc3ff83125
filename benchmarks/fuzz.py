"""Damaged files of every kind through everything that reads them: `python benchmarks/fuzz.py [--cases 50000] [--seed
1]`.

Two tiny runs of two seeds are made first. Then each case damages one file, in its bytes or, checksums set right again,
in its values, and gives it to one of its readers: the commands themselves, in this process, or the function that opens
such a file for training. The result is compared with that of the sound file and counted:

    refused     an error of ours, exit code 2, or a warning that names the file
    same        accepted, with the same meaning
    other       accepted as a sound file of another content
    traceback   any other exception: a fault of pgolf
    slow        more than 10 s of computing, or a minute of waiting: a fault
    marker      something that the file named was run: a fault

Exit code 1 where there is a fault. Takes about ten minutes on two cores.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where it is loaded by path

import torch
from mutations import Damage, artifact_damage, damaged_bytes, json_damage, state_damage, yaml_damage

from pgolf import aggregate, compare, evaluate, report, status, train
from pgolf.config.binding import RESERVED
from pgolf.config.build import build_data, build_model
from pgolf.config.saved import load_saved
from pgolf.config.schema import PathsConfig
from pgolf.data.loaded import load_corpus
from pgolf.data.text import Text
from pgolf.errors import PgolfError
from pgolf.records.plan import PlannedCell, Sweep, add_to_plan
from pgolf.records.record import read_record
from pgolf.run.artifact import unpack
from pgolf.run.trained import take_trained
from pgolf.study.description import FamilyPlan, Study, write_study
from pgolf.training.checkpoint import PARTS, load_weights, read_state, state_bytes

TOO_LONG_S = 10
FAULTS = ("traceback", "slow", "marker")
TINY = "model.width=16 model.layers=2 model.heads=2 model.kv_heads=1 model.mlp_hidden=32 train.steps=4 train.seq_len=16"
RUN = "train.batch_tokens=64 train.log_every=1 train.val_every=2 eval.max_targets=300 data=text data.vocab_size=300"
KEY = {"seed": 1, "fingerprint": "0" * 16, "versions.torch": "2", "data_sha": "0" * 64, "code_files": ["run.py 0"]}
Readers = dict[str, Callable[[], object]]  # by name; each raises PgolfError, or returns what it understood
VOLATILE = ("at", "ended_at")


@dataclass
class Case:
    """One kind of file: where it lies, what reads it, and how a damaged one is made from the sound content."""

    path: Path
    readers: Readers
    damage: Damage


def make_world(root: Path, seeds: Sequence[int] = (1, 2)) -> None:
    """Runs of two arms in root/multirun/adhoc, with plan, study, tables, curves and the cache of their corpus."""
    os.chdir(root)
    words, dice = ("the", "cat", "sat", "on", "a", "mat", "rank", "of", "head"), random.Random(7)
    lines = [f"{number} {' '.join(dice.choices(words, k=9))}." for number in range(900)]
    (root / "text.txt").write_text("\n\n".join(lines))
    common = f"{TINY} {RUN} data.path={root}/text.txt paths.cache={root}/cache".split()
    for arm in ("tied", "factorized"):
        for seed in seeds:
            code = train.main([*common, f"model/head={arm}", f"seed={seed}", "study.name=adhoc", f"study.arm={arm}"])
            assert code == 0, "the sound runs must end well"
    study = root / "multirun" / "adhoc"
    cells = []
    for folder in run_folders(root):
        record = read_record(folder)
        assert record is not None
        trained = load_weights(folder, "checkpoint/weights.safetensors")
        state = {
            "key": KEY,
            "trace": {"steps": 3},
            "offsets": {"metrics.jsonl": 5},
            "model": trained,
            **dict.fromkeys(PARTS[1:]),
        }
        (folder / "checkpoint" / "state.pt").write_bytes(state_bytes(state))
        place = str(folder.relative_to(study))
        cells.append(PlannedCell("adhoc", record["arm"], record["seed"], record["fingerprint"], place))
    add_to_plan(study, Sweep(("model/head=tied,factorized", "seed=1,2"), time.time(), "0" * 64, False, tuple(cells)))
    family = FamilyPlan("heads", "two heads", "tied", ("tied", "factorized"))
    write_study(
        study, Study("adhoc", "Which head?", "nowhere", "cpu", "welch", 0.01, (family,), {"tied": {"val_bpb": 2.0}})
    )
    assert aggregate.main([str(study), "--curves", "--quiet", "--out", str(root / "rows" / "results.jsonl")]) == 0


def run_folders(root: Path) -> list[Path]:
    return sorted(path.parent for path in (root / "multirun").rglob("result.json"))


def said(main: Callable[[list[str]], int], *argv: object) -> str:
    """What a command prints and its exit code; raises PgolfError where that is 2."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in argv])
    if code == 2:
        raise PgolfError(err.getvalue())
    return f"{code}\n{out.getvalue()}\n{err.getvalue()}"


def cases_of(root: Path, marker: str) -> dict[str, Case]:
    """Every kind of file of the world, by name."""
    study, rows, runs = root / "multirun" / "adhoc", root / "rows", run_folders(root)
    run, other = runs[0], runs[-1]
    config = load_saved(run).config
    entry = next(path for path in (root / "cache").iterdir() if (path / "manifest.json").is_file())
    paths = PathsConfig(str(root), str(root / "cache"))

    packed, text, cpu = run / "artifact.pgolf", root / "text.txt", torch.device("cpu")
    of_corpus = ["data=text", f"data.path={text}", "data.vocab_size=300", f"paths.cache={root}/cache"]
    settings = {key: value for key, value in config.data.items() if key not in (*RESERVED, "path")}

    def parent() -> str:
        model = build_model(config.model)
        return f"{take_trained(run, model, cpu).trace.steps} {weight_sum(model)}"

    def going_on() -> object:
        if (state := read_state(run)) is None:
            raise PgolfError("the run begins anew")
        return state

    def without_record() -> str:
        (run / "result.json").rename(run / "aside")
        try:
            return said(compare.main, run, other, "--json")
        finally:
            (run / "aside").rename(run / "result.json")

    def of(source: Path) -> Readers:
        return {
            "aggregate": lambda: said(aggregate.main, source, "--quiet", "--out", root / "out"),
            "report": lambda: said(report.main, source, "--out", root / "out.html"),
        }

    in_study: Readers = {"status": lambda: said(status.main, study, "--json"), **of(study)}
    in_pair: Readers = {"compare": lambda: said(compare.main, run, other, "--json")}
    in_rows = of(rows / "results.jsonl")
    in_corpus: Readers = {"corpus": lambda: load_corpus(build_data(config).prepare()).val_text_sha}
    in_folder: Readers = {
        "rerun": lambda: load_saved(run, paths),
        "worker": lambda: load_saved(run),
        "compare": without_record,
    }
    packed_readers: Readers = {
        "unpack": lambda: weight_sum(unpack(packed, cpu).model),
        "evaluate": lambda: said(evaluate.main, packed, *of_corpus, "--json"),
    }
    plain, lines = json_damage(marker), json_damage(marker, lines=True)
    return {
        "record": Case(
            run / "result.json", {**in_study, **in_pair, "train.from": parent}, json_damage(marker, indent=1)
        ),
        "plan": Case(study / "sweep.json", in_study, plain),
        "study": Case(study / "study.json", of(study), plain),
        "metrics": Case(run / "metrics.jsonl", {**in_study, **in_pair}, lines),
        "configuration": Case(run / "config.yaml", in_folder, yaml_damage(marker)),
        "rows": Case(rows / "results.jsonl", in_rows, lines),
        "curves": Case(rows / "curves.jsonl", in_rows, lines),
        "artifact": Case(packed, packed_readers, artifact_damage(marker)),
        "checkpoint": Case(run / "checkpoint" / "state.pt", {"continue": going_on}, state_damage(marker)),
        "weights": Case(run / "checkpoint" / "weights.safetensors", {"train.from": parent}, damaged_bytes),
        "manifest": Case(entry / "manifest.json", in_corpus, plain),
        "tokenizer": Case(entry / "tokenizer.model", in_corpus, damaged_bytes),
        "shard": Case(next(entry.glob("*_val_*.bin")), in_corpus, damaged_bytes),
        "text": Case(
            text,
            {"text": lambda: Text(root / "fresh", path=str(text), **settings).prepare().raw_val_bytes},
            damaged_bytes,
        ),
    }


def weight_sum(model: torch.nn.Module) -> float:
    return sum(float(weights.detach().double().sum()) for weights in model.parameters())


# One case in so many; a picture takes a second, a composed configuration a third of one.
RARE = {"report": 200, "evaluate": 200, "aggregate": 3}


class TooSlow(BaseException):
    """Not an Exception, so that nothing of pgolf takes it."""


def outcome(case: Case, name: str, sound: str, marker: Path) -> tuple[str, str]:
    """What became of the damaged file, and what to show of a fault."""

    def stop(*_: object) -> None:
        raise TooSlow

    timers = {signal.ITIMER_PROF: (signal.SIGPROF, TOO_LONG_S), signal.ITIMER_REAL: (signal.SIGALRM, 6 * TOO_LONG_S)}
    for timer, (number, seconds) in timers.items():
        signal.signal(number, stop)
        signal.setitimer(timer, seconds)
    try:
        text = meaning(case.readers[name]())
        kind, shown = (
            (
                "same"
                if text == sound
                else "refused"
                if case.path.name in text and case.path.name not in sound
                else "other"
            ),
            "",
        )
        if kind == "other" and any(word in text and word not in sound for word in ("damaged", "foreign", "None")):
            kind = "refused"
    except PgolfError:
        kind, shown = "refused", ""
    except TooSlow:
        kind, shown = "slow", traceback.format_exc()
    except BaseException:
        kind, shown = "traceback", traceback.format_exc()
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
    if marker.exists():
        shutil.rmtree(marker)
        kind, shown = "marker", str(marker)
    return kind, shown


def meaning(result: object) -> str:
    """A reader's result as text, less what the clock says."""
    lines = str(result).split("\n")
    return "\n".join(line for line in lines if not any(f'"{key}":' in line for key in VOLATILE))


def fuzz(root: Path, cases: int, seed: int, kinds: tuple[str, ...] = ()) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Counts by (kind of file, outcome), and what to show of faults. The world in `root` is left as it was."""
    dice, marker = random.Random(seed), root / "made_by_a_file"
    world = {name: case for name, case in cases_of(root, str(marker)).items() if not kinds or name in kinds}
    sound = {(kind, name): meaning(reader()) for kind, case in world.items() for name, reader in case.readers.items()}
    counts: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    names = [name for name in world if name != "text"] * 20 + ["text"] * ("text" in world)
    while sum(counts.values()) < cases:
        kind = dice.choice(names)
        case = world[kind]
        readers = [name for name in case.readers if dice.randrange(RARE.get(name, 1)) == 0] or [
            next(iter(case.readers))
        ]
        reader, content = dice.choice(readers), case.path.read_bytes()
        try:
            case.path.write_bytes(case.damage(content, dice))
            found, shown = outcome(case, reader, sound[kind, reader], marker)
            if shown and len(faults) < 20:
                kept = root / f"fault-{seed}-{len(faults)}"
                kept.write_bytes(case.path.read_bytes())
                faults.append(f"{kind} through {reader} ({kept}): {shown}")
        finally:
            case.path.write_bytes(content)
        counts[kind, found] += 1
    return counts, faults


def table(counts: Mapping[tuple[str, str], int]) -> Iterator[str]:
    columns = ("refused", "same", "other", *FAULTS)
    yield f"{'kind':<14}" + "".join(f"{column:>10}" for column in columns)
    for kind in [*dict.fromkeys(kind for kind, _ in counts), "all"]:
        numbers = [sum(n for (k, c), n in counts.items() if c == column and kind in (k, "all")) for column in columns]
        yield f"{kind:<14}" + "".join(f"{number:>10,}" for number in numbers)


def work(job: tuple[int, int, tuple[str, ...]]) -> tuple[Counter[tuple[str, str]], list[str]]:
    cases, seed, kinds = job
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    with contextlib.redirect_stdout(io.StringIO()):
        make_world(root)
    made = fuzz(root, cases, seed, kinds)
    if not made[1]:
        shutil.rmtree(root)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=1, help="of the damage; the same seed damages the same way")
    parser.add_argument("--kinds", nargs="+", default=[], help="kinds of files, as in the table; all without it")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    began, jobs = (
        time.monotonic(),
        [(-(-args.cases // args.processes), args.seed * 1000 + n, tuple(args.kinds)) for n in range(args.processes)],
    )
    counts: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for found, shown in pool.imap_unordered(work, jobs):
            counts += found
            faults += shown
    print(f"seed {args.seed}: {sum(counts.values()):,} damaged files in {time.monotonic() - began:,.0f} s")
    print(*table(dict(sorted(counts.items()))), *faults, sep="\n")
    return 1 if any(column in FAULTS for (_, column) in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
