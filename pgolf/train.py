"""`python -m pgolf.train [overrides] [--multirun]`: checks every run, then runs each one and leaves its record.

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

from hydra._internal.utils import _run_hydra, get_args_parser
from rich.console import Console

from pgolf.command import OK, Parser, run
from pgolf.config.compose import CONFIG_NAME
from pgolf.config.corpora import check_corpora
from pgolf.config.expansion import as_sweep_of_one
from pgolf.config.folders import CONFIG_DIR, conf_dir, config_folders
from pgolf.config.help import help_text
from pgolf.config.overrides import OWN_CONF
from pgolf.config.path_values import quoted
from pgolf.config.preflight import CommandLine, preflight
from pgolf.config.resolvers import register
from pgolf.config.study import study_of
from pgolf.errors import ConfigError, PgolfError
from pgolf.machine.files import describe_os_error
from pgolf.machine.processes import PARENT
from pgolf.study.description import write_study
from pgolf.sweep.dry_run import dry_run
from pgolf.sweep.jobs import run_composed
from pgolf.sweep.launch import launch_all, launch_one
from pgolf.sweep.runs import Run
from pgolf.sweep.state import plan_run, state_of
from pgolf.sweep.sweep import Reporter, announce, as_sweep, close, rerun_since, states_of, write_plan

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


def hand_over(args: Namespace, overrides: Sequence[str]) -> None:
    """Let Hydra do what the flags say: print a configuration, complete a word, or sweep with another sweeper.

    Raises what goes wrong. By itself Hydra prints a traceback and ends the process.
    """
    register()
    own = config_folders()[1:]
    request = Namespace(**{**vars(args), "overrides": list(overrides), "config_dir": str(own[0]) if own else None})
    before = os.environ.get(HYDRA_FULL_ERROR)
    os.environ[HYDRA_FULL_ERROR] = "1"
    try:
        _run_hydra(request, get_args_parser(), run_composed, str(conf_dir()), CONFIG_NAME)
    finally:
        if before is None:
            del os.environ[HYDRA_FULL_ERROR]
        else:
            os.environ[HYDRA_FULL_ERROR] = before


def run_jobs(runs: Sequence[Run], line: CommandLine) -> None:
    """Let Hydra's launcher run the jobs. Raises PgolfError where a disk refuses, KeyboardInterrupt.

    What the launcher's own library reports, such as a killed job, is printed in a line. The records of the jobs have
    the details.
    """
    launcher = str(line.whole.hydra.launcher._target_)
    if "joblib" in launcher:
        os.environ[PARENT] = str(os.getpid())  # its processes are to end with this one
    try:
        launch_all(runs, line.whole)
    except OSError as error:  # a file of Hydra's own in the folder of the sweep
        raise PgolfError(describe_os_error(error, runs[0].plan_folder)) from None
    except KeyboardInterrupt:
        if "submitit" in launcher:
            print("jobs that submitit was given go on; the same command waits for them", file=sys.stderr)
        raise
    except Exception as error:
        package = type(error).__module__.split(".")[0]
        if package not in LAUNCHERS:
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        print(f"{package}: a job did not end by itself ({type(error).__name__}: {reason})", file=sys.stderr)


def launch(line: CommandLine, command: Sequence[str]) -> int:
    """Run what is missing, failed or changed. command: the overrides as typed. Returns the exit code."""
    planned = [plan_run(composed, in_sweep=line.in_sweep) for composed in line.runs]
    runs = as_sweep(planned) if line.in_sweep else planned
    since = rerun_since(command, runs) if line.in_sweep else None
    states = states_of(runs, since) if line.in_sweep else [state_of(runs[0])]
    if runs[0].config.launch.dry_run:
        dry_run(line.runs, runs, states)
        return OK
    check_corpora([run.config for run, state in zip(runs, states, strict=True) if state.kind != "done"])
    if not line.in_sweep:
        launch_one(runs[0], line.whole)
        return close(runs)
    study = study_of(line.runs[0])
    if study is not None:
        write_study(runs[0].plan_folder, study)
    write_plan(command, runs, since)
    announce(runs, states)
    try:
        with Reporter(runs, states):
            run_jobs(runs, line)
    finally:
        code = close(runs)
    if study is not None:
        show_study(runs[0].plan_folder)
    elif code == OK:
        print(f"python -m pgolf.aggregate {runs[0].plan_folder} makes a table of them")
    return code


def launch_other_sweeper(line: CommandLine, args: Namespace, overrides: Sequence[str]) -> int:
    """Let another sweeper than Hydra's basic one choose and compose its runs. Returns the exit code.

    What the command line gives replaces what a study sweeps. Hydra first composes without what is swept, so values that
    need a swept choice become sweeps over one value.
    """
    if line.runs[0].composed.launch.dry_run:
        runs = [plan_run(composed, in_sweep=True) for composed in line.runs]
        dry_run(line.runs, runs, states_of(runs))
        return OK
    check_corpora([plan_run(line.runs[0], in_sweep=True).config])
    swept = [as_sweep_of_one(text) if text in line.deferred else text for text in overrides]
    hand_over(args, [*swept, *(f"~hydra.sweeper.params.{key}" for key in line.replaced_sweep_keys)])
    return OK


def show_study(folder: Path) -> None:
    """The tables of a study whose runs have ended, written and printed. Raises PgolfError."""
    from pgolf.pages.aggregation import FILES, WIDE, aggregate, write_tables
    from pgolf.pages.formats import show

    made = aggregate(folder)
    show(made.sections(), Console(highlight=False, width=None if sys.stdout.isatty() else WIDE))
    for warning in write_tables(made, folder):
        print(warning)
    print(f"written: {folder}/{{{', '.join(FILES)}}}; python -m pgolf.report {folder} makes a page of it")


def print_section(args: Namespace, overrides: Sequence[str]) -> None:
    """Print the section at --package as --cfg does. Raises ConfigError where there is none."""
    output = io.StringIO()
    try:
        with redirect_stderr(output):
            hand_over(args, overrides)
    except SystemExit as end:
        if end.code:
            raise ConfigError(
                f"--package: no such section ({args.package}). Name one that --cfg prints, as model.head"
            ) from None
        raise
    print(output.getvalue(), end="", file=sys.stderr)


def command(arguments: list[str]) -> int:
    args = flags_of(quoted(arguments))
    if args.help:
        print(help_text())
        return OK
    if args.hydra_help or args.shell_completion:
        hand_over(args, args.overrides)
        return OK
    line = preflight(args.overrides, multirun=args.multirun)
    if args.package is not None:
        print_section(args, args.overrides)
    elif args.cfg or args.info:
        hand_over(args, args.overrides)
    elif not line.is_enumerated:
        return launch_other_sweeper(line, args, args.overrides)
    else:
        return launch(line, args.overrides)
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 all ok, 1 a run failed or is left, 2 refused, 130 interrupted."""
    return run(command, arguments, interrupted="interrupted; the same command runs what is left")


if __name__ == "__main__":
    sys.exit(main())
