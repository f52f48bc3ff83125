"""`pgolf.run`: a run or a sweep from Python, in processes of its own, as `python -m pgolf.train --multirun` does it."""

import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import IO

from pgolf.api.results import Results
from pgolf.command import ERROR_MARK, FAILED, OK, REFUSED
from pgolf.errors import ConfigError, PgolfError
from pgolf.machine.interrupts import INTERRUPTED
from pgolf.machine.processes import PARENT, wait
from pgolf.records.plan import PLAN, Sweep, read_plan
from pgolf.records.rows import Collected, Row, read_folder

OUT = "multirun"  # the default of paths.out
DRY = re.compile(r"launch\.dry_run=(true|on|yes|y|1)", re.IGNORECASE)
OUT_KEY = "paths.out"
DRAIN_S = 5.0  # time for the last lines of a process that has ended


def run(
    overrides: Sequence[str] = (), *, out: str | PathLike[str] | None = None, progress: bool = True
) -> Results | None:
    """Execute the runs of some overrides that are missing, failed or changed. Returns the rows of all of them.

    overrides: as those of `python -m pgolf.train --multirun`, such as ["model/head=tied,mos", "seed=1,2,3"]. out: the
    folder of the runs, `multirun` by default. progress: print the lines of the sweep while it works.

    Each run is a process of its own, and one run is a sweep of one. An interrupt stops the runs after their step and
    raises KeyboardInterrupt; the same call resumes them. A failed run is a row with its error, and a warning. With
    launch.dry_run=true nothing runs and the result is None. Raises ConfigError, with all problems of the overrides, and
    PgolfError.
    """
    words = checked(overrides, out)
    folder = Path(words[-1].partition("=")[2]) if out is None else Path(out)
    out_word = f"{OUT_KEY}={quoted(os.path.abspath(folder.expanduser()))}"
    words = [*words[:-1], out_word] if out is None else [*words, out_word]
    began = time.time()
    code, errors, told = execute(words, progress=progress)
    if code == REFUSED:
        raise ConfigError(*(told or errors or ["the command was refused"]))
    if code == INTERRUPTED:
        raise PgolfError("interrupted by a signal from outside; the same call resumes the work")
    if code not in (OK, FAILED):
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise PgolfError(f"the process of the sweep {ended}; the same call resumes the work. {' '.join(errors[-1:])}")
    if any(DRY.fullmatch(word) for word in words):
        return None
    if code == FAILED:
        warnings.warn(f"not every run succeeded: {first_line(errors)}. See the column error", stacklevel=2)
    return rows_of_command(Path(os.path.abspath(folder.expanduser())), words, began)


def checked(overrides: Sequence[str], out: str | PathLike[str] | None) -> list[str]:
    """The overrides as a list; without `out`, the last one is that of paths.out. Raises ConfigError."""
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: is one text ({overrides}). Give a list: ['model/head=tied', 'seed=1']")
    words = [str(word) for word in overrides]
    if flags := [word for word in words if word.startswith("-")]:
        raise ConfigError(f"overrides: takes no flags ({flags[0]}). Use python -m pgolf.train for them")
    outs = [word for word in words if word.partition("=")[0] == OUT_KEY]
    if outs and out is not None:
        raise ConfigError(f"out: is given twice (out={os.fspath(out)} and {outs[0]}). Leave one out")
    rest = [word for word in words if word not in outs]
    return rest if out is not None else [*rest, outs[-1] if outs else f"{OUT_KEY}={OUT}"]


def quoted(path: str) -> str:
    """A path as a text that Hydra reads unchanged."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", path).replace("${", r"\${")
    return f"'{escaped}'"


def execute(words: Sequence[str], *, progress: bool) -> tuple[int, list[str], list[str]]:
    """(exit code, lines of the error stream, lines of the error that ended it) of a sweep in a process of its own.

    The error is printed at the end, unless the command was refused. Raises KeyboardInterrupt.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "pgolf.api.child", "--multirun", *words],
        env={**os.environ, PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # an interrupt of this process reaches the sweep by way of `wait` alone
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors, told = list[str](), list[str]()
    readers = [
        threading.Thread(target=follow, args=(process.stdout, [], told, progress), daemon=True),
        threading.Thread(target=follow, args=(process.stderr, errors, told, progress), daemon=True),
    ]
    for reader in readers:
        reader.start()
    code = INTERRUPTED
    try:
        code = wait(process)
    finally:
        for reader in readers:
            reader.join(DRAIN_S)
        if told and progress and code != REFUSED:
            print(*told, sep="\n", flush=True)
    return code, errors, told


def follow(stream: IO[bytes], lines: list[str], told: list[str], progress: bool) -> None:
    """Append the lines of a stream to `lines`, and print them as they come. Marked lines are appended to `told`."""
    with stream:
        for line in stream:
            text = line.decode("utf-8", errors="replace").rstrip("\n")
            if text.startswith(ERROR_MARK):
                told.append(text.removeprefix(ERROR_MARK))
                continue
            lines.append(text)
            if progress:
                print(text, flush=True)


def first_line(errors: Sequence[str]) -> str:
    return errors[0].rstrip(":") if errors else "see the lines above"


def rows_of_command(out: Path, words: Sequence[str], began: float) -> Results:
    """The rows of the runs that a command planned, or executed where another sweeper chose them. began: Unix time."""
    found: list[tuple[Path, Sweep]] = []
    for plan in sorted(out.glob(f"*/{PLAN}")):
        latest = [s for s in read_plan(plan.parent) if s.started_at >= began and unquoted(s.command) == unquoted(words)]
        found += [(plan.parent, sweep) for sweep in latest]
    source = found[0][0] if len(found) == 1 else out
    collected = read_folder(source)
    planned = {os.path.normpath(folder / cell.folder) for folder, sweep in found for cell in sweep.cells}

    def is_own(row: Row) -> bool:
        if found:
            return os.path.normpath(source / row["folder"]) in planned
        return float(row.get("ended_at") or 0) >= began

    return Results.of(source, Collected([row for row in collected.rows if is_own(row)], collected.warnings))


def unquoted(words: Sequence[str]) -> list[str]:
    """Words in order and without quotes: a plan holds paths as Hydra needs them."""
    return sorted(re.sub(r"[\"'\\]", "", word) for word in words)
