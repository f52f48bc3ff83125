"""`python -m pgolf.train [overrides] [--multirun]`: checks every cell, then runs each one and leaves its record.

A single run trains in this process; every job of a sweep, and a run of several ranks, is a process of its own started from its saved
configuration, so that whatever kills one costs one record.
"""

import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from pgolf.account import account
from pgolf.check import decide_auto
from pgolf.config import CONFIG_NAME, conf_dir, plain, register, save
from pgolf.ending import ERROR, summary
from pgolf.errors import ConfigError, PgolfError
from pgolf.help import help_text
from pgolf.preflight import Cell, preflight
from pgolf.provenance import git_state, versions
from pgolf.results import read_record, set_aside, write_record
from pgolf.run import execute
from pgolf.runs import finished_record, identify, run_folder

STDERR = "stderr.log"
GRACE_S = 30.0  # that an interrupted worker has to leave its record


def task(cfg: DictConfig) -> float:
    """One job, as Hydra's launchers call it. Returns val_bpb; NaN where the run did not end well (its record says why)."""
    hydra_config = HydraConfig.get()
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    identity = identify(cfg, hydra_config.overrides.task, hydra_config.runtime.choices, in_sweep=in_sweep)
    config = decide_auto(plain(cfg), in_sweep=in_sweep)
    try:
        record = run_cell(config, identity, in_sweep=in_sweep)
    except (PgolfError, OSError) as error:  # of the file system: it costs this job and no other
        print(f"{identity['arm']} seed={config['seed']}: {error}", file=sys.stderr)
        return float("nan")
    value = record.get("val_bpb")
    return float("nan") if value is None else float(value)


def run_cell(config: Mapping[str, Any], identity: Mapping[str, Any], *, in_sweep: bool) -> dict[str, Any]:
    """Run one configuration, or find its record. A record of a finished run is kept unless launch.rerun asks for another."""
    folder = run_folder(config, identity)
    label = f"{identity['arm']} seed={config['seed']}"
    if not config["launch"]["rerun"] and (known := finished_record(folder, config)) is not None:
        print(f"{label}: already run (launch.rerun=true runs it again)\n{summary(known, folder)}", flush=True)
        return known
    folder.mkdir(parents=True, exist_ok=True)
    set_aside(folder)
    save({**config, "run": dict(identity)}, folder / "config.yaml")
    if not in_sweep and config["launch"]["nproc"] == 1:
        return execute(config, folder, identity)
    print(f"{label}: running", flush=True)
    record = run_process(config, folder, identity, quiet=in_sweep)
    if in_sweep:
        print(f"{label}: {one_line(record)}", flush=True)
    return record


def one_line(record: Mapping[str, Any]) -> str:
    if record["status"] != "ok":
        return f"{record['status']}: {record['error']}"
    return f"val_bpb {record['val_bpb']:.4f}, {record['total_bytes']:,} bytes, {record['train_s']:.1f} s"


def run_process(config: Mapping[str, Any], folder: Path, identity: Mapping[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Start the worker (torchrun for several ranks) and wait for it; a worker that dies without a record gets one here."""
    nproc = config["launch"]["nproc"]
    ranks = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={nproc}"] if nproc > 1 else []
    command = [sys.executable, *ranks, "-m", "pgolf.worker", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(config["train"]["threads"])}
    with (folder / STDERR).open("w", encoding="utf-8") as errors:
        worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL if quiet else None, stderr=errors)
        try:
            code = worker.wait()
        except KeyboardInterrupt:
            stop(worker)
            raise
    record = read_record(folder)
    if record is None:
        how = f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        said = (folder / STDERR).read_text(encoding="utf-8", errors="replace")
        (folder / ERROR).write_text(f"the worker was {how}\n{said}", encoding="utf-8")
        record = {"status": "failed", "error": f"the worker was {how} before it left a record", **identity}
        record |= {"seed": config["seed"], **git_state(), **versions()}
        write_record(folder, record)
    return record


def stop(worker: "subprocess.Popen[bytes]") -> None:
    """Let an interrupted worker finish its record, then end it."""
    try:
        worker.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def planned(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the identity that a cell's job will have."""
    config = decide_auto(plain(cell.composed), in_sweep=cell.in_sweep)
    return config, identify(cell.composed, cell.overrides, cell.choices, in_sweep=cell.in_sweep)


def dry_run(cells: Sequence[Cell]) -> None:
    """What would run, and what it costs."""
    for number, cell in enumerate(cells, 1):
        config, identity = planned(cell)
        costs = account(config)
        print(
            f"{number}/{len(cells)}  {identity['arm']} seed={config['seed']}: {costs.total:,} parameters ({costs.frozen:,} frozen), ",
            end="",
        )
        print(f"{costs.payload_bytes['chosen']:,} bytes before compression, {run_folder(config, identity)}")


def failures(cells: Sequence[Cell]) -> list[str]:
    """The planned cells without a good record, each with where to read why."""
    lines = []
    for cell in cells:
        config, identity = planned(cell)
        folder = run_folder(config, identity)
        record = read_record(folder)
        if record is None or record["status"] != "ok":
            why = "no record" if record is None else f"{record['status']}: {record['error']}"
            lines.append(f"{identity['arm']} seed={config['seed']}: {why}\n  traceback: {folder / ERROR}")
    return lines


def arguments(argv: Sequence[str]) -> Namespace:
    args = get_args_parser().parse_args(argv)
    for flag in ("config_name", "config_path", "config_dir"):
        if getattr(args, flag):
            raise ConfigError(
                f"--{flag.replace('_', '-')}: is not used by pgolf ({getattr(args, flag)}). Add a folder with hydra.searchpath=[...]"
            )
    return args


def main() -> int:
    """The command; returns the exit code: 0 all ok, 1 a run failed, 2 refused, 130 interrupted."""
    try:
        args = arguments(sys.argv[1:])
        if args.help:
            print(help_text())
            return 0
        cells = [] if args.hydra_help or args.shell_completion else preflight(args.overrides, multirun=args.multirun)
        if cells and cells[0].composed.launch.dry_run and not args.cfg:
            dry_run(cells)
            return 0
        register()
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
        failed = [] if args.cfg or args.info else failures(cells)
    except PgolfError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command runs what is left", file=sys.stderr)
        return 130
    if failed and cells[0].in_sweep:
        print(f"{len(failed)} of {len(cells)} runs did not end well:", *failed, sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
