"""One job of a launcher: executes or resumes one run, unless it has finished. The run may be a process of its own."""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pgolf.command import REFUSED
from pgolf.config.composed_run import composed_run
from pgolf.config.resolvers import register
from pgolf.config.saved import SavedRun, save_run
from pgolf.config.search_path import trust
from pgolf.errors import PgolfError
from pgolf.execution.execute import describe_error, execute
from pgolf.execution.finish import ERROR
from pgolf.execution.provenance import record_head
from pgolf.execution.record import one_line, summary
from pgolf.machine.files import unwritten, write_lines
from pgolf.machine.forks import ForkedProcess, start_forked
from pgolf.machine.gpus import pinned, visible_devices
from pgolf.machine.processes import die_with_parent, start_worker, wait
from pgolf.records.limits import write_limits
from pgolf.records.record import OF_A_FAILURE, RECORD, read_record, set_aside, write_record
from pgolf.sweep.audits import audit_once
from pgolf.sweep.runs import Run
from pgolf.sweep.state import lock_run_folder, plan_run, state_of
from pgolf.sweep.sweep import reason_to_stop, sweep_of
from pgolf.training.checkpoint import clear

JOB = "run"  # the key in the configuration of a job under which its run stands, as text


def run_job_text(cfg: DictConfig) -> float:
    """One job, called by Hydra's launcher, perhaps in another process. cfg: contains a run as text, under JOB.

    Returns val_bpb, or NaN if the run failed.
    """
    trust_own_folders()
    return run_as_job(Run.from_json(cfg[JOB]), in_sweep=HydraConfig.get().mode == RunMode.MULTIRUN)


def trust_own_folders() -> None:
    """Trust the user's own config folders that the command line named. A scheduler may drop its environment."""
    folders: Any = OmegaConf.to_container(HydraConfig.get().searchpath, resolve=False)
    trust(folders)


def run_composed(cfg: DictConfig) -> float:
    """One job of a sweeper that chooses values during the sweep. Its configuration is checked only now.

    Returns val_bpb, or NaN if the configuration is invalid or the run failed.
    """
    register()
    trust_own_folders()
    hydra_config = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)  # as typed, ${seed} too
    choices = {str(group): choice for group, choice in hydra_config.runtime.choices.items()}
    try:
        run = plan_run(composed_run(overrides, cfg, choices), in_sweep=True)
    except (PgolfError, OSError) as error:
        print(f"{describe_error(error, Path())}\n  in {' '.join(overrides)}", file=sys.stderr, flush=True)
        return float("nan")
    return run_as_job(run, in_sweep=True)


def run_as_job(run: Run, *, in_sweep: bool) -> float:
    """Execute a run unless its sweep has stopped, in the folder in which the command was started.

    PgolfError and OSError are printed, so that they stop no other run. Returns val_bpb, or NaN if the run failed or was
    not started.
    """
    runtime: Any = OmegaConf.to_container(HydraConfig.get().runtime, resolve=False)  # a name may look like `${x}`
    if in_sweep and os.getcwd() != runtime["cwd"]:
        os.chdir(runtime["cwd"])
    die_with_parent()  # a process of a launcher ends with the command that started it
    try:
        sweep = sweep_of(run) if in_sweep else None
        if sweep is not None and reason_to_stop(sweep, run.plan_folder) is not None:
            return float("nan")
        since = None if sweep is None else sweep.rerun_since
        record = run_once(run, in_sweep=in_sweep, quiet=sweep is not None, since=since)
    except (PgolfError, OSError) as error:
        where = f"\n  in {run.label}" if in_sweep else ""
        print(f"{describe_error(error, Path())}{where}", file=sys.stderr, flush=True)
        return float("nan")
    value = record.get("val_bpb")
    return float("nan") if value is None else float(value)


def run_once(run: Run, *, in_sweep: bool, quiet: bool = False, since: float | None = None) -> Mapping[str, Any]:
    """Execute or resume a run, or return its record if it has finished; audit it, if asked. Returns the record.

    quiet: print nothing, since the sweep reports the result. since: as for `state_of`. Raises PgolfError, OSError.
    """
    with lock_run_folder(run.folder, run.label):
        record = record_of(run, in_sweep=in_sweep, quiet=quiet, since=since)
        broken = audit_once(run, record["status"])
        if broken and in_sweep and not quiet:  # of another sweeper; else `close` names them
            print(*(f"{run.label}: audit: {rule}" for rule in broken), sep="\n", flush=True)
        return record


def record_of(run: Run, *, in_sweep: bool, quiet: bool, since: float | None) -> Mapping[str, Any]:
    """`run_once` without the audit. The caller holds the lock of the run folder."""
    state = state_of(run, since)
    if state.record is not None:
        if not quiet:
            remedy = "launch.rerun=true runs it again"
            print(f"{run.label}: {state.why} ({remedy})\n{summary(state.record, run.folder)}", flush=True)
        return state.record
    if state.kind == "continue":
        clear_failure(run.folder)
    else:
        set_aside(run.folder)
        clear(run.folder)
    if not quiet and state.is_news:
        print(f"{run.label}: {state.why}", flush=True)
    save_run(run.config, run.identity, run.folder)
    write_limits(run.folder, run.limits)
    if not in_sweep and run.config.launch.nproc == 1:
        return execute(run.config, run.folder, run.identity)
    record = run_process(run, quiet=in_sweep)
    if in_sweep and not quiet:
        print(f"{run.label}: {one_line(record)}", flush=True)
    return record


def run_saved(saved: SavedRun, folder: Path) -> dict[str, Any]:
    """Execute a saved configuration as a process that writes to `folder`. Returns the record.

    Raises PgolfError, OSError.
    """
    run = Run(saved.config, saved.identity, folder, f"{saved.identity['arm']} seed={saved.config.seed}")
    with lock_run_folder(folder, run.label):
        return run_process(run, quiet=False)


def clear_failure(folder: Path) -> None:
    """Before resuming: delete the record of an interruption, archive that of a failure."""
    record = read_record(folder)
    if record is not None and record["status"] == "interrupted":
        for name in OF_A_FAILURE:
            (folder / name).unlink(missing_ok=True)
    else:
        set_aside(folder, OF_A_FAILURE)


def run_process(run: Run, *, quiet: bool) -> dict[str, Any]:
    """Start a worker for a run and wait for it. If it leaves no record, one is written here. Returns the record."""
    # The error stream goes to a temporary file, since the disk of the run folder may be full.
    with TemporaryFile() as errors, pinned(run.config.gpus_per_run, visible_devices()) as pins:
        environment = {"OMP_NUM_THREADS": run.config.train.threads, **pins}
        worker = forked_worker(run, environment, errors) if quiet and run.config.launch.nproc == 1 else None
        code = wait(
            worker or start_worker(run.folder, run.config.launch.nproc, environment, quiet=quiet, errors=errors)
        )
        errors.seek(0)
        output = errors.read().decode("utf-8", errors="replace")
    record = read_record(run.folder)
    return record_crash(run, code, output) if record is None else record


def forked_worker(run: Run, environment: Mapping[str, str], errors: IO[bytes]) -> ForkedProcess | None:
    """A worker of a sweep as a fork of the server of this process. None where a fork is not safe."""
    server = [sys.executable, "-m", "pgolf.sweep.worker", "--serve"]
    return start_forked(server, [str(run.folder)], {**os.environ, **environment}, errors)


def record_crash(run: Run, code: int, output: str) -> dict[str, Any]:
    """Write and return the record of a run whose worker left none. code: its exit code. output: its error stream.

    Raises PgolfError if the record cannot be written.
    """
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    last = output.strip().splitlines()[-1:] if code > 0 else []
    is_refusal = code == REFUSED and bool(last)  # the last line is the error message of the worker
    error = last[0] if is_refusal else ": ".join([f"the worker {how} before it left a record", *last])
    with suppress(OSError):  # the record contains the error too, and is written next
        write_lines(run.folder / ERROR, [f"the worker {how}\n{output}"])
    try:
        write_record(run.folder, {"status": "failed", "error": error, **record_head(run.config, run.identity)})
    except OSError as cause:
        raise PgolfError(error if is_refusal else f"{unwritten(cause, run.folder / RECORD)}\n  {error}") from None
    record = read_record(run.folder)
    assert record is not None
    return record
