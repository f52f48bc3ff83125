"""One job of a command: found done, continued or run, in this process or in a worker's, and its record."""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pgolf.command import REFUSED
from pgolf.config.compose import save
from pgolf.config.inherit import inherit
from pgolf.config.resolvers import register
from pgolf.errors import PgolfError
from pgolf.machine.files import unwritten, write_lines
from pgolf.machine.gpus import gpus_of, pinned, visible_devices
from pgolf.machine.processes import die_with_parent, start_worker, wait
from pgolf.records.record import OF_A_FAILURE, RECORD, read_record, set_aside, write_record
from pgolf.run.execute import describe_error, execute
from pgolf.run.finish import ERROR
from pgolf.run.provenance import record_head
from pgolf.run.record import one_line, summary
from pgolf.sweep.state import Planned, lock_run_folder, plan_cell, state_of
from pgolf.sweep.sweep import planned_here, stopped
from pgolf.training.checkpoint import clear


def task(cfg: DictConfig) -> float:
    """One job, as Hydra's launchers call it, perhaps in a process of theirs. Returns val_bpb; NaN where the run did not
    end well.
    """
    register()
    hydra_config = HydraConfig.get()
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    overrides: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)  # as typed: ${seed} stays
    started_in = OmegaConf.to_container(hydra_config.runtime, resolve=False)["cwd"]  # type: ignore[index,call-overload]
    if in_sweep and os.getcwd() != started_in:
        os.chdir(started_in)
    die_with_parent()  # a launcher's own process ends with the command that started it
    name = " ".join(overrides)
    try:
        cell = plan_cell(inherit(cfg, overrides), overrides, hydra_config.runtime.choices, in_sweep=in_sweep)
        sweep = None
        if in_sweep:
            cell, sweep = planned_here(cell)
            name = cell.label
            if sweep is not None and stopped(sweep, cell) is not None:
                return float("nan")
        since = None if sweep is None else sweep.rerun_since
        record = run_cell(cell, in_sweep=in_sweep, quiet=sweep is not None, since=since)
    except (PgolfError, OSError) as error:  # of the file system: it costs this job and no other
        print(
            f"{describe_error(error, Path())}{f'{chr(10)}  in {name}' if in_sweep else ''}", file=sys.stderr, flush=True
        )
        return float("nan")
    value = record.get("val_bpb")
    return float("nan") if value is None else float(value)


def run_cell(cell: Planned, *, in_sweep: bool, quiet: bool = False, since: float | None = None) -> Mapping[str, Any]:
    """Run one job, or find its record. quiet: the sweep reports how it ended. since: as for `state_of`."""
    with lock_run_folder(cell.folder, cell.label):
        state = state_of(cell, since)
        if state.record is not None:
            if not quiet:
                print(
                    f"{cell.label}: already run (launch.rerun=true runs it "
                    f"again)\n{summary(state.record, cell.folder)}",
                    flush=True,
                )
            return state.record
        if state.kind == "continue":
            clear_failure(cell.folder)
        else:
            set_aside(cell.folder)
            clear(cell.folder)
        if not quiet and state.is_news:
            print(f"{cell.label}: {state.why}", flush=True)
        save({**cell.config, "run": dict(cell.identity)}, cell.folder / "config.yaml")
        if not in_sweep and cell.config["launch"]["nproc"] == 1:
            return execute(cell.config, cell.folder, cell.identity)
        record = run_process(cell, quiet=in_sweep)
        if in_sweep and not quiet:
            print(f"{cell.label}: {one_line(record)}", flush=True)
        return record


def run_saved(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run a saved configuration as a process in a folder of its own. Its section `run` says which run it is."""
    own = {key: value for key, value in config.items() if key != "run"}
    cell = Planned(own, config["run"], folder, f"{config['run']['arm']} seed={config['seed']}")
    with lock_run_folder(folder, cell.label):
        return run_process(cell, quiet=False)


def clear_failure(folder: Path) -> None:
    """Make way for a run that goes on: an interruption is of no more interest, a failure is kept aside."""
    record = read_record(folder)
    if record is not None and record["status"] == "interrupted":
        for name in OF_A_FAILURE:
            (folder / name).unlink(missing_ok=True)
    else:
        set_aside(folder, OF_A_FAILURE)


def run_process(cell: Planned, *, quiet: bool) -> dict[str, Any]:
    """Start the worker and wait for it; one that dies without a record gets one here."""
    folder, launch = cell.folder, cell.config["launch"]
    # Not in the folder, whose disk may be full.
    with TemporaryFile() as errors, pinned(gpus_of(cell.config), visible_devices()) as pins:
        environment = {"OMP_NUM_THREADS": str(cell.config["train"]["threads"]), **pins}
        code = wait(start_worker(folder, launch["nproc"], environment, quiet=quiet, errors=errors))
        errors.seek(0)
        said = errors.read().decode("utf-8", errors="replace")
    record = read_record(folder)
    return record_crash(cell, code, said) if record is None else record


def record_crash(cell: Planned, code: int, said: str) -> dict[str, Any]:
    """The record of a worker that ended without one. said: its error stream. Raises PgolfError where the record cannot
    be written.
    """
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    last = said.strip().splitlines()[-1:] if code > 0 else []
    refused = code == REFUSED and bool(last)  # it has said in a line what is wrong
    error = last[0] if refused else ": ".join([f"the worker {how} before it left a record", *last])
    with suppress(OSError):  # the record says as much, and is tried next
        write_lines(cell.folder / ERROR, [f"the worker {how}\n{said}"])
    try:
        write_record(cell.folder, {"status": "failed", "error": error, **record_head(cell.config, cell.identity)})
    except OSError as refusal:
        raise PgolfError(error if refused else f"{unwritten(refusal, cell.folder / RECORD)}\n  {error}") from None
    record = read_record(cell.folder)
    assert record is not None
    return record
