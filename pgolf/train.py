"""`python -m pgolf.train [overrides] [--multirun]`: checks every cell, then runs each one and leaves its record.

A single run trains in this process; every job of a sweep, and a run of several ranks, is a process of its own started
from its saved configuration, so that whatever kills one costs one record. The same command again runs what is missing,
failed or changed, and goes on from the checkpoints of what was interrupted.
"""

import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from rich.console import Console

from pgolf.command import OK, Parser, run
from pgolf.config.compose import CONFIG_NAME
from pgolf.config.corpora import check_corpora
from pgolf.config.expansion import as_sweep_of_one
from pgolf.config.folders import CONFIG_DIR, conf_dir, config_folders
from pgolf.config.help import help_text
from pgolf.config.overrides import OWN_CONF
from pgolf.config.path_values import quoted
from pgolf.config.preflight import Cell, preflight
from pgolf.config.resolvers import register
from pgolf.config.study import study_of
from pgolf.errors import ConfigError, PgolfError
from pgolf.machine.files import describe_os_error
from pgolf.machine.processes import PARENT
from pgolf.study.description import write_study
from pgolf.sweep.dry_run import dry_run
from pgolf.sweep.jobs import task
from pgolf.sweep.state import Planned, plan_cell, state_of
from pgolf.sweep.sweep import Reporter, announce, as_sweep, close, plan_folder, rerun_since, states_of, write_plan

UNUSED = {
    "config_name": "is not used by pgolf. Choose with GROUP=CHOICE",
    "config_path": OWN_CONF,
    "experimental_rerun": "is not used by pgolf. python -m pgolf.rerun RUN_DIR runs a record once more",
}
HYDRA_FULL_ERROR = "HYDRA_FULL_ERROR"
LAUNCHERS = ("joblib", "submitit", "ray", "concurrent")  # packages whose exceptions are about a launcher's jobs
LONGEST_REASON = 200  # characters
SHELLS = ("bash", "zsh", "fish")


def flags_of(words: Sequence[str]) -> Namespace:
    """The arguments as Hydra's own parser knows them. Raises PgolfError for what it would refuse later, or pgolf does
    not use.
    """
    args = Parser(prog="python -m pgolf.train", add_help=False, parents=[get_args_parser()]).parse_intermixed_args(
        list(words)
    )
    problems = [
        f"--{flag.replace('_', '-')}: {why} ({getattr(args, flag)})"
        for flag, why in UNUSED.items()
        if getattr(args, flag) is not None
    ]
    modes = [
        f"--{mode.replace('_', '-')}"
        for mode in ("run", "multirun", "cfg", "info", "shell_completion")
        if getattr(args, mode)
    ]
    if len(modes) > 1:
        problems.append(f"{modes[0]}: cannot be given together with {' and '.join(modes[1:])}. Leave one out")
    for flag in ("resolve", "package"):
        if getattr(args, flag) and not args.cfg:
            problems.append(f"--{flag}: says how --cfg prints. Give --cfg job too")
    if args.shell_completion and not (len(args.overrides) == 1 and fits_completion(args.overrides[0])):
        given = " ".join(args.overrides) or "nothing"
        problems.append(
            f"--shell-completion: needs install=SHELL or uninstall=SHELL ({given}). Shells: {', '.join(SHELLS)}"
        )
    if args.config_dir is not None and not Path(args.config_dir).is_dir():
        problems.append(
            f"--config-dir: is not a folder ({args.config_dir}). Name a folder of config groups, as model/head, with "
            "your YAMLs"
        )
    if problems:
        raise ConfigError(*problems)
    if args.config_dir is not None:
        os.environ[CONFIG_DIR] = str(Path(args.config_dir).absolute())  # the processes of a sweep look there too
    return args


def fits_completion(word: str) -> bool:
    action, _, shell = word.partition("=")
    return shell in SHELLS and (action in ("install", "uninstall") or (action == "query" and "COMP_LINE" in os.environ))


def flags_first(argv: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The command line as Hydra's parser takes it: it does not know overrides on both sides of a flag."""
    flags = list(argv)
    for override in overrides:
        flags.remove(override)
    return [*flags, *overrides]


def hand_over(argv: Sequence[str]) -> None:
    """Let Hydra do what the arguments say. It raises what goes wrong; by itself it prints a traceback and ends the
    process.
    """
    register()
    own = [word for folder in config_folders()[1:] for word in ("--config-dir", str(folder))]
    sys.argv[1:] = [*own, *argv]
    before = os.environ.get(HYDRA_FULL_ERROR)
    os.environ[HYDRA_FULL_ERROR] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    finally:
        if before is None:
            del os.environ[HYDRA_FULL_ERROR]
        else:
            os.environ[HYDRA_FULL_ERROR] = before


def run_jobs(argv: Sequence[str], jobs: Sequence[Planned], launcher: str) -> None:
    """Let Hydra's launcher run the jobs. Raises PgolfError where a disk refuses, KeyboardInterrupt.

    What the launcher's own library reports, as that a job of it was killed, is said in a line: the jobs' records tell
    the rest.
    """
    try:
        hand_over(argv)
    except OSError as error:  # Hydra's own file in the folder of the sweep
        raise PgolfError(describe_os_error(error, plan_folder(jobs[0]))) from None
    except KeyboardInterrupt:
        if "submitit" in launcher:
            print("jobs that submitit was given go on; the same command waits for them", file=sys.stderr)
        raise
    except Exception as error:
        package = type(error).__module__.split(".")[0]
        if package not in LAUNCHERS:
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        print(f"{package}: a job did not come to its end ({type(error).__name__}: {reason})", file=sys.stderr)


def launch(cells: Sequence[Cell], command: Sequence[str], argv: Sequence[str]) -> int:
    """Hand the cells to Hydra, whose launcher calls `task` for each. argv: the command line as Hydra takes it. The exit
    code.
    """
    jobs = as_sweep([plan_cell(c.composed, c.overrides, c.choices, in_sweep=c.in_sweep) for c in cells])
    since = rerun_since(command, jobs) if cells[0].in_sweep else None
    states = states_of(jobs, since) if cells[0].in_sweep else [state_of(job) for job in jobs]
    study = study_of(cells[0])
    if cells[0].composed.launch.dry_run:
        dry_run(cells, jobs, states)
        return 0
    check_corpora([job.config for job, state in zip(jobs, states, strict=True) if state.kind != "done"])
    if cells[0].in_sweep:
        argv = [as_sweep_of_one(text) if text in cells[0].deferred_overrides else text for text in argv]
    argv = [*argv, *(f"~hydra.sweeper.params.{key}" for key in cells[0].replaced_sweep_keys)]
    if not cells[0].in_sweep or not cells[0].is_enumerated:
        hand_over(argv)
        return close(jobs) if cells[0].is_enumerated else 0
    if "joblib" in cells[0].launcher:
        os.environ[PARENT] = str(os.getpid())  # its processes are to end with this one
    if study is not None:
        write_study(plan_folder(jobs[0]), study)
    write_plan(command, jobs, since)
    announce(jobs, states)
    try:
        with Reporter(jobs, states):
            run_jobs(argv, jobs, cells[0].launcher)
    finally:
        code = close(jobs)
    if study is not None:
        show_study(plan_folder(jobs[0]))
    elif code == 0:
        print(f"python -m pgolf.aggregate {plan_folder(jobs[0])} makes a table of them")
    return code


def show_study(folder: Path) -> None:
    """The tables of a study whose runs have ended, written and printed. Raises PgolfError."""
    from pgolf.pages.aggregation import FILES, WIDE, aggregate, write_tables
    from pgolf.pages.formats import show

    made = aggregate(folder)
    show(made.sections(), Console(highlight=False, width=None if sys.stdout.isatty() else WIDE))
    for warning in write_tables(made, folder):
        print(warning)
    print(f"written: {folder}/{{{', '.join(FILES)}}}; python -m pgolf.report {folder} makes a page of it")


def print_section(argv: Sequence[str], section: str) -> None:
    """What --cfg prints of one section. Raises ConfigError where there is none of this name, of which Hydra makes a
    failure.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            hand_over(argv)
    except SystemExit as end:
        if end.code:
            raise ConfigError(
                f"--package: no such section ({section}). Name one that --cfg prints, as model.head"
            ) from None
        raise
    print(said.getvalue(), end="", file=sys.stderr)


def command(arguments: list[str]) -> int:
    words = quoted(arguments)
    args = flags_of(words)
    if args.help:
        print(help_text())
        return OK
    argv = flags_first(words, args.overrides)
    cells = [] if args.hydra_help or args.shell_completion else preflight(args.overrides, multirun=args.multirun)
    if args.package is not None:
        print_section(argv, args.package)
        return OK
    if not cells or args.cfg or args.info:
        hand_over(argv)
        return OK
    return launch(cells, args.overrides, argv)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 all ok, 1 a run failed or is left, 2 refused, 130 interrupted."""
    return run(command, arguments, interrupted="interrupted; the same command runs what is left")


if __name__ == "__main__":
    sys.exit(main())
