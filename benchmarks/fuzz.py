"""Fuzzing of everything that reads a file: `python benchmarks/fuzz.py [--cases 50000] [--seed 1]`.

First, two tiny arms are trained with two seeds. Then each case damages one file, either in its bytes, or in its values
with corrected checksums. One of the file's readers gets it: a command, run in this process, or the function that opens
such a file for training. The result is compared with that of the valid file, and counted:

    refused     a PgolfError, exit code 2, or a warning that names the file
    same        accepted, with the same result
    other       accepted as a valid file of another content
    traceback   any other exception: a fault of pgolf
    slow        more than 10 s of CPU time, or a minute of wall time: a fault
    marker      the file made pgolf run code that it named: a fault

Exit code 1 if there is a fault. Takes about ten minutes on two cores.
"""

import argparse
import contextlib
import hashlib
import io
import json
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

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for tests, which load this file by its path

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
from pgolf.execution.artifact import unpack
from pgolf.execution.auditing.records import record_checks
from pgolf.execution.auditing.scores import plan_checks
from pgolf.execution.auditing.subject import open_subject
from pgolf.execution.auditing.training import training_checks
from pgolf.execution.trained import load_trained
from pgolf.inspect import __main__ as inspect_command
from pgolf.inspect.ranks import QUERY_SPECTRA, QuerySpectra, ranks_for
from pgolf.pages.figures.inspections import INSPECTION, read_panels, save_panels
from pgolf.pages.figures.spectra import Band, Line, Panel, picture_of
from pgolf.records.audits import AUDIT
from pgolf.records.documents import DOCUMENTS, read_documents
from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from pgolf.records.record import read_record
from pgolf.study.description import FamilyPlan, Study, write_study
from pgolf.training.checkpoint import PARTS, load_weights, read_state, state_bytes

TOO_LONG_S = 10
FAULTS = ("traceback", "slow", "marker")
TINY = "model.width=16 model.layers=2 model.heads=2 model.kv_heads=1 model.mlp_hidden=32 train.steps=4 train.seq_len=16"
RUN = "train.batch_tokens=64 train.log_every=1 train.val_every=2 eval.max_targets=300 data=text data.vocab_size=300"
KEY = {"seed": 1, "fingerprint": "0" * 16, "versions.torch": "2", "data_sha": "0" * 64, "code_files": ["run.py 0"]}
LINE = Line("layer 0", (1.0, 2.0), (1.0, 0.5))
BAND = Band((1.0, 2.0), (1.0, 0.2), (1.0, 0.4))
PANEL = Panel("spectrum-q", "Q", "about", "rank", "share", (LINE,), (BAND,), log=True, level=0.7)
SPECTRA = QuerySpectra(16, "live", 64, weight=((2.0, 1.0, 0.5), (1.0, 1.0, 0.1)), activation=((3.0, 1.0), (2.0, 0.5)))
Readers = dict[str, Callable[[], object]]  # by name; each raises PgolfError, or returns its result
VOLATILE = ("at", "ended_at")


@dataclass
class Case:
    """One kind of file: its path, its readers, and the function that damages its content."""

    path: Path
    readers: Readers
    damage: Damage


def make_world(root: Path, seeds: Sequence[int] = (1, 2)) -> None:
    """Train two arms in root/multirun/adhoc, with plan, study, tables, curves and the cache of their corpus."""
    os.chdir(root)
    words, dice = ("the", "cat", "sat", "on", "a", "mat", "rank", "of", "head"), random.Random(7)
    lines = [f"{number} {' '.join(dice.choices(words, k=9))}." for number in range(900)]
    (root / "text.txt").write_text("\n\n".join(lines))
    common = f"{TINY} {RUN} data.path={root}/text.txt paths.cache={root}/cache".split()
    for arm in ("tied", "factorized"):
        for seed in seeds:
            code = train.main([*common, f"model/head={arm}", f"seed={seed}", "study.name=adhoc", f"study.arm={arm}"])
            assert code == 0, "the runs on valid files failed"
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
        check = {"rule": "score", "name": "made for this test", "verdict": "fail"}
        (folder / AUDIT).write_text(json.dumps([{"path": "", "refusal": None, "checks": [check]}]))
        save_panels(folder / INSPECTION, [PANEL])
        SPECTRA.save(folder / QUERY_SPECTRA)
        place = str(folder.relative_to(study))
        cells.append(PlannedRun("adhoc", record["arm"], record["seed"], record["fingerprint"], place))
    add_to_plan(study, Sweep(("model/head=tied,factorized", "seed=1,2"), time.time(), "0" * 64, False, tuple(cells)))
    family = FamilyPlan("heads", "two heads", "tied", ("tied", "factorized"))
    write_study(
        study, Study("adhoc", "Which head?", "nowhere", "cpu", "welch", 0.01, (family,), {"tied": {"val_bpb": 2.0}})
    )
    assert aggregate.main([str(study), "--curves", "--quiet", "--out", str(root / "rows" / "results.jsonl")]) == 0


def run_folders(root: Path) -> list[Path]:
    return sorted(path.parent for path in (root / "multirun").rglob("result.json"))


def run_command(main: Callable[[list[str]], int], *argv: object) -> str:
    """The exit code and the output of a command. Raises PgolfError for exit code 2."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in argv])
    if code == 2:
        raise PgolfError(err.getvalue())
    return f"{code}\n{out.getvalue()}\n{err.getvalue()}"


def cases_of(root: Path, marker: str) -> dict[str, Case]:
    """One case per kind of file below `root`, by name. marker: a folder that damaged files try to create."""
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
        return f"{load_trained(run, model, cpu).trace.steps} {weight_sum(model)}"

    def going_on() -> object:
        if (state := read_state(run)) is None:
            raise PgolfError("the run starts from the beginning")
        return state

    def audited() -> object:
        subject = open_subject(run, f"{root}/cache")
        return plan_checks(subject) + training_checks(subject) + record_checks(subject)

    def pictured() -> list[str]:
        try:
            return [picture_of(panel).title for panel in read_panels(run / INSPECTION)]
        except ValueError as error:
            raise PgolfError(str(error)) from None

    def ranks() -> list[int]:
        return [
            *ranks_for(str(run), "weight", 2, 16, energy=0.9),
            *ranks_for(str(run), "activation", 2, 16, parameters=96),
        ]

    def without_record() -> str:
        (run / "result.json").rename(run / "aside")
        try:
            return run_command(compare.main, run, other, "--json")
        finally:
            (run / "aside").rename(run / "result.json")

    def of(source: Path) -> Readers:
        return {
            "aggregate": lambda: run_command(aggregate.main, source, "--quiet", "--out", root / "out"),
            "report": lambda: run_command(report.main, source, "--out", root / "out.html"),
        }

    in_study: Readers = {"status": lambda: run_command(status.main, study, "--json"), **of(study)}
    in_pair: Readers = {"compare": lambda: run_command(compare.main, run, other, "--json")}
    in_audit: Readers = {
        "audit": audited,
        "inspect": lambda: run_command(inspect_command.main, run, "--draws", 3, "--json"),
    }

    def documents() -> str:  # as if the record named the damaged file
        sha = hashlib.sha256((run / DOCUMENTS).read_bytes()).hexdigest()
        return repr(read_documents(run, {"documents_sha": sha}))

    in_record: Readers = {**in_study, **in_pair, **in_audit, "train.from": parent}
    in_text: Readers = {"text": lambda: Text(root / "fresh", path=str(text), **settings).prepare().raw_val_bytes}
    in_rows = of(rows / "results.jsonl")
    in_corpus: Readers = {"corpus": lambda: load_corpus(build_data(config).prepare()).val_text_sha}
    in_folder: Readers = {
        "rerun": lambda: load_saved(run, paths),
        "worker": lambda: load_saved(run),
        "compare": without_record,
        **in_audit,
    }
    packed_readers: Readers = {
        "unpack": lambda: weight_sum(unpack(packed, cpu).model),
        "evaluate": lambda: run_command(evaluate.main, packed, *of_corpus, "--json"),
        **in_audit,
    }
    plain, lines = json_damage(marker), json_damage(marker, lines=True)
    return {
        "record": Case(run / "result.json", in_record, json_damage(marker, indent=1)),
        "plan": Case(study / "sweep.json", in_study, plain),
        "study": Case(study / "study.json", of(study), plain),
        "metrics": Case(run / "metrics.jsonl", {**in_study, **in_pair, **in_audit}, lines),
        "configuration": Case(run / "config.yaml", in_folder, yaml_damage(marker)),
        "rows": Case(rows / "results.jsonl", in_rows, lines),
        "curves": Case(rows / "curves.jsonl", in_rows, lines),
        "artifact": Case(packed, packed_readers, artifact_damage(marker)),
        "checkpoint": Case(run / "checkpoint" / "state.pt", {"continue": going_on}, state_damage(marker)),
        "weights": Case(run / "checkpoint" / "weights.safetensors", {"train.from": parent, **in_audit}, damaged_bytes),
        "documents": Case(run / DOCUMENTS, {"documents": documents, **in_pair, **of(study)}, damaged_bytes),
        "audit": Case(run / AUDIT, of(study), plain),
        "inspection": Case(run / INSPECTION, {**of(study), "panels": pictured}, plain),
        "spectra": Case(run / QUERY_SPECTRA, {"ranks": ranks}, plain),
        "manifest": Case(entry / "manifest.json", in_corpus, plain),
        "tokenizer": Case(entry / "tokenizer.model", in_corpus, damaged_bytes),
        "shard": Case(next(entry.glob("*_val_*.bin")), in_corpus, damaged_bytes),
        "text": Case(text, in_text, damaged_bytes),
    }


def weight_sum(model: torch.nn.Module) -> float:
    return sum(float(weights.detach().double().sum()) for weights in model.parameters())


# Slow readers get only every n-th case: figures take a second, composing a configuration a third of a second.
RARE = {"report": 200, "panels": 5, "evaluate": 200, "aggregate": 3, "audit": 3, "inspect": 10}


class TooSlow(BaseException):
    """Derived from BaseException, so that pgolf does not catch it."""


def outcome(case: Case, name: str, valid: str, marker: Path) -> tuple[str, str]:
    """(outcome, details of a fault) of a damaged file. valid: the reader's result for the valid file."""

    def stop(*_: object) -> None:
        raise TooSlow

    timers = {signal.ITIMER_PROF: (signal.SIGPROF, TOO_LONG_S), signal.ITIMER_REAL: (signal.SIGALRM, 6 * TOO_LONG_S)}
    for timer, (number, seconds) in timers.items():
        signal.signal(number, stop)
        signal.setitimer(timer, seconds)
    try:
        text = meaning(case.readers[name]())
        warning = any(word in text and word not in valid for word in (case.path.name, "damaged", "foreign", "None"))
        kind, details = "same" if text == valid else "refused" if warning else "other", ""
    except PgolfError:
        kind, details = "refused", ""
    except TooSlow:
        kind, details = "slow", traceback.format_exc()
    except BaseException:
        kind, details = "traceback", traceback.format_exc()
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
    if marker.exists():
        shutil.rmtree(marker)
        kind, details = "marker", str(marker)
    return kind, details


def meaning(result: object) -> str:
    """A reader's result as text, without lines about times."""
    lines = str(result).split("\n")
    return "\n".join(line for line in lines if not any(f'"{key}":' in line for key in VOLATILE))


def fuzz(root: Path, cases: int, seed: int, kinds: tuple[str, ...] = ()) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Counts by (kind of file, outcome), and the details of faults. All files in `root` are restored."""
    dice, marker = random.Random(seed), root / "made_by_a_file"
    world = {name: case for name, case in cases_of(root, str(marker)).items() if not kinds or name in kinds}
    valid = {(kind, name): meaning(reader()) for kind, case in world.items() for name, reader in case.readers.items()}
    counts, faults = Counter[tuple[str, str]](), list[str]()
    names = [name for name in world if name != "text"] * 20 + ["text"] * ("text" in world)
    while sum(counts.values()) < cases:
        kind = dice.choice(names)
        case = world[kind]
        readers = [name for name in case.readers if dice.randrange(RARE.get(name, 1)) == 0]
        reader, content = dice.choice(readers or [next(iter(case.readers))]), case.path.read_bytes()
        try:
            case.path.write_bytes(case.damage(content, dice))
            result, details = outcome(case, reader, valid[kind, reader], marker)
            if details and len(faults) < 20:
                copy = root / f"fault-{seed}-{len(faults)}"
                copy.write_bytes(case.path.read_bytes())
                faults.append(f"{kind} read by {reader} ({copy}): {details}")
        finally:
            case.path.write_bytes(content)
        counts[kind, result] += 1
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
    counts, faults = fuzz(root, cases, seed, kinds)
    if not faults:
        shutil.rmtree(root)
    return counts, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000, help="total number of damaged files")
    parser.add_argument("--seed", type=int, default=1, help="seed of the damage")
    parser.add_argument("--kinds", nargs="+", default=[], help="kinds of files, as in the table; default: all")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    start, share = time.monotonic(), -(-args.cases // args.processes)
    jobs = [(share, args.seed * 1000 + n, tuple(args.kinds)) for n in range(args.processes)]
    counts, faults = Counter[tuple[str, str]](), list[str]()
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for new_counts, new_faults in pool.imap_unordered(work, jobs):
            counts += new_counts
            faults += new_faults
    print(f"seed {args.seed}: {sum(counts.values()):,} damaged files in {time.monotonic() - start:,.0f} s")
    print(*table(dict(sorted(counts.items()))), *faults, sep="\n")
    return 1 if any(column in FAULTS for (_, column) in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
