"""Executes the runs of a sweep as jobs of Hydra's launcher, and reports how they end."""

import os
import sys
from collections.abc import Sequence

from pgolf.config.command_line import CommandLine
from pgolf.errors import PgolfError
from pgolf.machine.files import describe_os_error
from pgolf.machine.processes import PARENT
from pgolf.sweep.launch import launch_all
from pgolf.sweep.reporter import Reporter
from pgolf.sweep.runs import Run
from pgolf.sweep.state import State
from pgolf.sweep.sweep import announce, close, write_plan

LAUNCHERS = ("joblib", "submitit", "ray", "concurrent")  # packages whose exceptions are about jobs of a launcher
LONGEST_REASON = 200  # characters of an exception in a message


def execute_runs(
    runs: Sequence[Run], states: Sequence[State], line: CommandLine, command: Sequence[str], since: float | None = None
) -> int:
    """Plan the runs of a sweep, execute those that are left, and name those that failed. Returns the exit code.

    command: under which the plan has them. since: from `rerun_since`. Raises PgolfError, OSError, KeyboardInterrupt.
    """
    write_plan(command, runs, since)
    announce(runs, states)
    try:
        with Reporter(runs, states):
            run_jobs(runs, line)
    finally:
        code = close(runs)
    return code


def run_jobs(runs: Sequence[Run], line: CommandLine) -> None:
    """Start the runs as jobs of Hydra's launcher. Raises PgolfError for an error of the file system, KeyboardInterrupt.

    An exception of the library of the launcher, for example about a killed job, is printed in one line. The records of
    the runs have the details.
    """
    launcher = str(line.whole.hydra.launcher._target_)
    if "joblib" in launcher:
        os.environ[PARENT] = str(os.getpid())  # the processes of joblib end with this process
    try:
        launch_all(runs, line.whole)
    except OSError as error:  # of a file that Hydra writes to the folder of the sweep
        raise PgolfError(describe_os_error(error, runs[0].plan_folder)) from None
    except KeyboardInterrupt:
        if "submitit" in launcher:
            print("jobs that submitit has started continue; the same command waits for them", file=sys.stderr)
        raise
    except Exception as error:
        package = type(error).__module__.split(".")[0]
        if package not in LAUNCHERS:
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        print(f"{package}: a job ended abnormally ({type(error).__name__}: {reason})", file=sys.stderr)
