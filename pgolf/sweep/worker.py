"""`python -m pgolf.sweep.worker RUN_DIR [--ranks N]`: runs the saved configuration of one run folder.

With --ranks, as N ranks under torchrun.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pgolf.command import FAILED, OK, Parser, place, run
from pgolf.config.auto import machine_shortages
from pgolf.config.saved import SavedRun, load_saved
from pgolf.errors import ConfigError
from pgolf.machine.processes import die_with_parent
from pgolf.records.record import FINISHED, read_record
from pgolf.run.execute import execute


def unfinished(folder: Path, ranks: int) -> SavedRun:
    """The configuration to run as so many ranks.

    Raises PgolfError for a folder that pgolf.train did not make or that holds a finished run, and for what this machine
    cannot run.
    """
    saved = load_saved(folder)
    known = read_record(folder)
    if known is not None and known["status"] in FINISHED:
        raise ConfigError(
            f"{folder}: holds a finished run. `python -m pgolf.rerun {folder}` runs it once more beside it"
        )
    asked = replace(saved.config, launch=replace(saved.config.launch, nproc=ranks))
    if problems := machine_shortages(asked):
        raise ConfigError(*(problem.replace("launch.nproc", "--ranks") for problem in problems))
    return saved


def work(folder: Path, saved: SavedRun) -> int:
    """Run it in this process. Returns the exit code."""
    return OK if execute(saved.config, folder, saved.identity)["status"] == "ok" else FAILED


def start_ranks(folder: Path, ranks: int) -> int:
    """torchrun's agent in this process; each rank is a worker of its own."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(["--standalone", f"--nproc-per-node={ranks}", "-m", "pgolf.sweep.worker", str(folder)])
    except ChildFailedError:
        return 1
    return 0


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.sweep.worker", description=__doc__)
    parser.add_argument("folder", type=place, metavar="RUN_DIR")
    parser.add_argument("--ranks", type=int, default=1, help="processes of the run (1)")
    args = parser.parse_args(arguments)
    if args.ranks < 1:
        raise ConfigError(f"--ranks: must be 1 or more ({args.ranks})")
    if not args.folder.is_dir():
        raise ConfigError(f"{args.folder}: is not a run folder. Give a folder that pgolf.train made")
    die_with_parent()
    saved = unfinished(args.folder, args.ranks)
    if args.ranks > 1 and "WORLD_SIZE" not in os.environ:
        return start_ranks(args.folder, args.ranks)
    return work(args.folder, saved)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when the record is ok, 1 when it is not, 2 without a usable folder, 130 when interrupted."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
