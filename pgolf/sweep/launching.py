"""Executes a checked command line of pgolf.train: its runs by Hydra's launchers, or what Hydra itself can do."""

import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

from hydra._internal.utils import _run_hydra, get_args_parser
from rich.console import Console

from pgolf.command import OK
from pgolf.config.command_line import CommandLine, preflight
from pgolf.config.compose import CONFIG_NAME
from pgolf.config.corpora import check_corpora
from pgolf.config.expansion import seeds_of_file, sweep_of_one
from pgolf.config.folders import conf_dir
from pgolf.config.path_values import quote_paths
from pgolf.config.resolvers import register
from pgolf.config.search_path import is_search_path, search_path_words, use_search_path
from pgolf.config.study import AUTO, study_of
from pgolf.errors import ConfigError, DamagedFile
from pgolf.records.plan import read_plan
from pgolf.records.record import RECORD
from pgolf.study.changes import with_changes
from pgolf.study.description import Study, read_study, write_study
from pgolf.study.probes import probe_folder, read_probe
from pgolf.sweep.adding import add_seeds, adding_problems, keep_sequential
from pgolf.sweep.compilation import decide_compile
from pgolf.sweep.dry_run import dry_run
from pgolf.sweep.execution import execute_runs
from pgolf.sweep.jobs import run_composed
from pgolf.sweep.launch import launch_one
from pgolf.sweep.search import search
from pgolf.sweep.state import plan_run, state_of
from pgolf.sweep.sweep import as_sweep, close, rerun_since, states_of

HYDRA_FULL_ERROR = "HYDRA_FULL_ERROR"


def execute(args: Namespace) -> int:
    """Do what the flags and overrides of pgolf.train say. Returns the exit code. Raises PgolfError, OSError."""
    overrides = quote_paths(args.overrides)
    if args.hydra_help or args.shell_completion:
        run_hydra(args, overrides)
        return OK
    line = preflight(overrides, multirun=args.multirun)
    if args.package is not None:
        print_section(args, overrides)
    elif args.cfg or args.info:
        run_hydra(args, overrides)
    elif line.space is not None:
        if problems := adding_problems(line):
            raise ConfigError(*problems)
        return search(line, overrides)
    elif not line.is_enumerated:
        return launch_other_sweeper(line, args, overrides)
    else:
        return launch(line, overrides)
    return OK


def run_hydra(args: Namespace, overrides: Sequence[str]) -> None:
    """Let Hydra execute the command: print a configuration, complete a word, or sweep with another sweeper.

    Raises every exception. By default Hydra would print a traceback and exit.
    """
    register()
    use_search_path(overrides)
    words = [*(word for word in overrides if not is_search_path(word)), *search_path_words()]
    request = Namespace(**{**vars(args), "overrides": words, "config_dir": None})
    before = os.environ.get(HYDRA_FULL_ERROR)
    os.environ[HYDRA_FULL_ERROR] = "1"
    try:
        _run_hydra(request, get_args_parser(), run_composed, str(conf_dir()), CONFIG_NAME)
    finally:
        if before is None:
            del os.environ[HYDRA_FULL_ERROR]
        else:
            os.environ[HYDRA_FULL_ERROR] = before


def launch(line: CommandLine, command: Sequence[str]) -> int:
    """Execute the runs that are missing, failed or changed. command: the overrides as typed. Returns the exit code.

    Raises PgolfError, OSError, KeyboardInterrupt.
    """
    if problems := adding_problems(line):
        raise ConfigError(*problems)
    runs = [plan_run(run, in_sweep=line.in_sweep) for run in line.runs]
    runs = decide_compile(line.runs, runs, in_sweep=line.in_sweep)
    if line.in_sweep:
        runs = as_sweep(runs)
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
        write_study(runs[0].plan_folder, study := described(study, line, runs[0].plan_folder))
    code = execute_runs(runs, states, line, command, since)
    if study is not None:
        if runs[0].config.launch.seeds == AUTO:
            code = max(code, add_seeds(line, runs, command, study))
        show_study(runs[0].plan_folder)
    elif code == OK:
        print(f"python -m pgolf.aggregate {runs[0].plan_folder} makes a table of them")
    return code


def described(study: Study, line: CommandLine, folder: Path) -> Study:
    """The study as its folder will describe it: with probes, planned seeds and what has changed. Raises DamagedFile."""
    try:
        before = read_study(folder)
    except DamagedFile:  # replaced by the new description
        before = None
    study = replace(study, planned_seeds=seeds_of_file(line.whole.hydra))
    study = keep_sequential(with_probes(study, folder), before)
    return with_changes(study, before, sum(1 for _ in folder.glob(f"*/seed*/{RECORD}")))


def with_probes(study: Study, folder: Path) -> Study:
    """The study with the probe that has ended beside its folder, if there is one. Raises DamagedFile."""
    found = read_probe(folder.with_name(probe_folder(folder.name, study.scale)))
    if found is None:
        return study
    is_late = any(sweep.started_at < found.ended_at for sweep in read_plan(folder))
    return replace(study, probes=(replace(found, is_late=is_late),))


def launch_other_sweeper(line: CommandLine, args: Namespace, overrides: Sequence[str]) -> int:
    """Let another sweeper than Hydra's basic sweeper choose and compose the runs. Returns the exit code.

    Keys of the command line replace those that a study sweeps. Hydra first composes the overrides that are not swept,
    so a value that needs a swept choice becomes a sweep over that one value.
    """
    if problems := adding_problems(line):
        raise ConfigError(*problems)
    if line.runs[0].cfg.launch.dry_run:
        runs = [plan_run(run, in_sweep=True) for run in line.runs]
        dry_run(line.runs, runs, states_of(runs))
        return OK
    check_corpora([plan_run(line.runs[0], in_sweep=True).config])
    words = [sweep_of_one(text) if text in line.deferred else text for text in overrides]
    run_hydra(args, [*words, *(f"~hydra.sweeper.params.{key}" for key in line.replaced_sweep_keys)])
    return OK


def show_study(folder: Path) -> None:
    """Write and print the tables of a study, after its runs. folder: of the study. Raises PgolfError, OSError."""
    from pgolf.pages.aggregation import FILES, WIDE, aggregate, write_tables
    from pgolf.pages.formats import show
    from pgolf.pages.headline import answer, main_sections

    results = aggregate(folder)
    show(
        [*main_sections(results), *answer(results)],
        Console(highlight=False, width=None if sys.stdout.isatty() else WIDE),
    )
    for warning in write_tables(results, folder):
        print(warning)
    print(f"written: {folder}/{{{', '.join(FILES)}}}, with further tables")
    print(f"python -m pgolf.report {folder} makes a page of it")


def print_section(args: Namespace, overrides: Sequence[str]) -> None:
    """Print the section of the configuration at --package. Raises ConfigError if there is none."""
    output = io.StringIO()
    try:
        with redirect_stderr(output):
            run_hydra(args, overrides)
    except SystemExit as end:
        if end.code:
            raise ConfigError(
                f"--package: no such section ({args.package}). Name one that --cfg prints, such as model.head"
            ) from None
        raise
    print(output.getvalue(), end="", file=sys.stderr)
