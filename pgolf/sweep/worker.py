"""`python -m pgolf.sweep.worker RUN_DIR [--ranks N]`: execute the saved configuration of a run folder.

pgolf.train starts it for each run of a sweep. With --ranks, N processes share the run, under torchrun. With --serve
instead of a folder, it forks a worker per request on a socket, and each starts at once.
"""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pgolf.command import FAILED, OK, Parser, place, run
from pgolf.config.auto import machine_shortages
from pgolf.config.saved import SavedRun, load_saved
from pgolf.errors import ConfigError
from pgolf.execution.execute import execute
from pgolf.execution.provenance import loaded_code
from pgolf.machine.forks import serve
from pgolf.machine.processes import die_with_parent
from pgolf.records.record import FINISHED, read_record


def unfinished(folder: Path, ranks: int) -> SavedRun:
    """The saved configuration of a run that has not finished. ranks: the number of its processes.

    Raises PgolfError if the folder is not a run folder, if the run has finished, and if this machine cannot execute it.
    """
    saved = load_saved(folder)
    record = read_record(folder)
    if record is not None and record["status"] in FINISHED:
        raise ConfigError(
            f"{folder}: contains a finished run. `python -m pgolf.rerun {folder}` repeats it in a new folder"
        )
    config = replace(saved.config, launch=replace(saved.config.launch, nproc=ranks))
    if problems := machine_shortages(config, ranks_option="--ranks"):
        raise ConfigError(*problems)
    return saved


def work(folder: Path, saved: SavedRun) -> int:
    """Execute the run in this process. Returns the exit code."""
    return OK if execute(saved.config, folder, saved.identity)["status"] == "ok" else FAILED


def start_ranks(folder: Path, ranks: int) -> int:
    """Execute the run with torchrun, which starts one worker process per rank. Returns the exit code."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(["--standalone", f"--nproc-per-node={ranks}", "-m", "pgolf.sweep.worker", str(folder)])
    except ChildFailedError:
        return FAILED
    return OK


def start_server(descriptor: int) -> int:
    """Fork workers until pgolf.train ends. descriptor: of its socket. Returns the exit code. Raises ConfigError."""
    try:
        control = socket.socket(fileno=descriptor)
    except (OSError, ValueError, OverflowError):
        raise ConfigError(f"--serve: is not a socket ({descriptor}). Give a run folder instead") from None
    loaded_code()  # reads what the source files import, once for all workers
    with control:
        serve(control, main)
    return OK


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.sweep.worker", description=__doc__)
    parser.add_argument("folder", type=place, metavar="RUN_DIR", nargs="?", help="a run folder of pgolf.train")
    parser.add_argument("--ranks", type=int, default=1, help="number of processes of the run (default: 1)")
    parser.add_argument("--serve", type=int, metavar="FD", help="the descriptor of a socket of pgolf.train")
    args = parser.parse_args(arguments)
    if (args.folder is None) == (args.serve is None):
        raise ConfigError("RUN_DIR: is missing, or given with --serve. Give a folder that pgolf.train wrote")
    if args.serve is not None:
        return start_server(args.serve)
    if args.ranks < 1:
        raise ConfigError(f"--ranks: must be 1 or more ({args.ranks})")
    if not args.folder.is_dir():
        raise ConfigError(f"{args.folder}: is not a run folder. Give a folder that pgolf.train wrote")
    die_with_parent()
    saved = unfinished(args.folder, args.ranks)
    if args.ranks > 1 and "WORLD_SIZE" not in os.environ:
        return start_ranks(args.folder, args.ranks)
    return work(args.folder, saved)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 1 the run failed, 2 refused, 130 interrupted."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
