"""`python -m pgolf.sweep.worker RUN_DIR`: runs the saved configuration of one run folder; with `--ranks N`, as N ranks
under torchrun.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.command import Parser, place, run
from pgolf.config.auto import machine_lacks
from pgolf.config.saved import load_saved
from pgolf.errors import ConfigError
from pgolf.machine.processes import die_with_parent
from pgolf.records.record import FINISHED, read_record
from pgolf.run.execute import execute


def unfinished(folder: Path, ranks: int) -> dict[str, Any]:
    """The configuration to run as so many ranks.

    Raises PgolfError for a folder that pgolf.train did not make or that holds a finished run, and for what this machine
    cannot run.
    """
    config = load_saved(folder)
    known = read_record(folder)
    if known is not None and known["status"] in FINISHED:
        raise ConfigError(
            f"{folder}: holds a finished run. `python -m pgolf.rerun {folder}` runs it once more beside it"
        )
    if lacks := machine_lacks({**config, "launch": {**config["launch"], "nproc": ranks}}):
        raise ConfigError(*(lack.replace("launch.nproc", "--ranks") for lack in lacks))
    return config


def work(folder: Path, config: Mapping[str, Any]) -> int:
    """Run it in this process. The exit code."""
    return 0 if execute(config, folder, config["run"])["status"] == "ok" else 1


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
    config = unfinished(args.folder, args.ranks)
    if args.ranks > 1 and "WORLD_SIZE" not in os.environ:
        return start_ranks(args.folder, args.ranks)
    return work(args.folder, config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when the record is ok, 1 when it is not, 2 without a usable folder, 130 when interrupted."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
