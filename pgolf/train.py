"""`python -m pgolf.train [overrides] [--multirun]`: checks every cell, then runs each one and leaves its record.

A single run trains in this process; every job of a sweep, and a run of several ranks, is a process of its own started from its saved
configuration, so that whatever kills one costs one record. The same command again runs what is missing, failed or changed, and goes on
from the checkpoints of what was interrupted.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from rich.console import Console

from pgolf.cells import plan_cell, state_of
from pgolf.config import CONFIG_NAME, conf_dir, register
from pgolf.corpora import check_corpora
from pgolf.dry_run import dry_run
from pgolf.errors import ConfigError, PgolfError
from pgolf.help import help_text
from pgolf.jobs import task
from pgolf.preflight import Cell, as_sweep_of_one, preflight, quoted
from pgolf.processes import PARENT
from pgolf.signals import sigterm_interrupts
from pgolf.studies import study_of
from pgolf.study import write_study
from pgolf.sweeps import Reporter, announce, as_sweep, close, plan_folder, rerun_since, states_of, write_plan


def arguments(argv: Sequence[str]) -> Namespace:
    args = get_args_parser().parse_intermixed_args(argv)
    for flag in ("config_name", "config_path", "config_dir"):
        if getattr(args, flag):
            raise ConfigError(
                f"--{flag.replace('_', '-')}: is not used by pgolf ({getattr(args, flag)}). Add a folder with hydra.searchpath=[...]"
            )
    return args


def flags_first(argv: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The command line as Hydra's parser takes it: it does not know overrides on both sides of a flag."""
    flags = list(argv)
    for override in overrides:
        flags.remove(override)
    return [*flags, *overrides]


def launch(cells: Sequence[Cell], command: Sequence[str]) -> int:
    """Hand the cells to Hydra, whose launcher calls `task` for each. The exit code."""
    jobs = as_sweep([plan_cell(c.composed, c.overrides, c.choices, in_sweep=c.in_sweep) for c in cells])
    since = rerun_since(command, jobs) if cells[0].in_sweep else None
    states = states_of(jobs, since) if cells[0].in_sweep else [state_of(job) for job in jobs]
    study = study_of(cells[0])
    if cells[0].composed.launch.dry_run:
        dry_run(cells, jobs, states)
        return 0
    check_corpora([job.config for job, state in zip(jobs, states, strict=True) if state.kind != "done"])
    register()
    if cells[0].in_sweep:
        sys.argv[1:] = [as_sweep_of_one(text) if text in cells[0].placeless else text for text in sys.argv[1:]]
    sys.argv += [f"~hydra.sweeper.params.{key}" for key in cells[0].overruled]
    app = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)
    if not cells[0].in_sweep or not cells[0].is_whole:
        app()
        return close(jobs) if cells[0].is_whole else 0
    if "joblib" in cells[0].launcher:
        os.environ[PARENT] = str(os.getpid())  # its processes are to end with this one
    if study is not None:
        write_study(plan_folder(jobs[0]), study)
    write_plan(command, jobs, since)
    announce(jobs, states)
    try:
        with Reporter(jobs, states):
            app()
    finally:
        code = close(jobs)
    if study is not None:
        show_study(plan_folder(jobs[0]))
    elif code == 0:
        print(f"python -m pgolf.aggregate {plan_folder(jobs[0])} makes a table of them")
    return code


def show_study(folder: Path) -> None:
    """The tables of a study whose runs have ended, written and printed. Raises PgolfError."""
    from pgolf.aggregation import FILES, WIDE, aggregate, write_tables  # scipy: half a second that a run does not need
    from pgolf.render import show

    made = aggregate(folder)
    show(made.sections(), Console(highlight=False, width=None if sys.stdout.isatty() else WIDE))
    for warning in write_tables(made, folder):
        print(warning)
    print(f"written: {folder}/{{{', '.join(FILES)}}}; python -m pgolf.report {folder} makes a page of it")


def main() -> int:
    """The command; returns the exit code: 0 all ok, 1 a run failed or is left, 2 refused, 130 interrupted."""
    try:
        args = arguments(quoted(sys.argv[1:]))
        sys.argv[1:] = flags_first(quoted(sys.argv[1:]), args.overrides)
        if args.help:
            print(help_text())
            return 0
        with sigterm_interrupts():
            if args.cfg and args.multirun:
                raise ConfigError("--cfg: shows one configuration (--multirun). Leave --multirun out")
            cells = [] if args.hydra_help or args.shell_completion else preflight(args.overrides, multirun=args.multirun)
            if not cells or args.cfg or args.info:
                register()
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
                return 0
            return launch(cells, args.overrides)
    except PgolfError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or 'the file system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command runs what is left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
