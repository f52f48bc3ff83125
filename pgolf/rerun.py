"""`python -m pgolf.rerun RUN_DIR [--out FOLDER]`: repeats a run from its config.yaml, and compares the numbers.

The new run has a folder of its own, by default `again-<n>` in RUN_DIR; the old files stay unchanged. With the same
machine, number of threads, code and data, a run with a budget in steps or tokens gives identical numbers.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.command import Parser, place, run
from pgolf.config.auto import machine_shortages
from pgolf.config.folders import cache_dir
from pgolf.config.saved import load_saved, save_run
from pgolf.config.schema import PathsConfig
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError
from pgolf.machine.files import folder_for
from pgolf.records.fields import RERUN_COMPARED, RERUN_EXPLAINS
from pgolf.records.record import read_record
from pgolf.sweep.jobs import run_saved


def new_folder(run: Path) -> Path:
    """The first unused folder `again-<n>` in a run folder."""
    number = 1
    while (run / f"again-{number}").exists():
        number += 1
    return run / f"again-{number}"


def rerun(run: Path, out: Path | None) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Repeat a run. out: the folder of the new run. Returns (old record or None, new record).

    Raises PgolfError, OSError.
    """
    if not run.is_dir():
        raise ConfigError(f"{run}: is not a run folder. Give a folder that pgolf.train wrote")
    folder = out or new_folder(run)
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigError(f"--out: is not a folder ({folder}). Name a new folder")
    saved = load_saved(run, PathsConfig(str(folder.absolute()), cache_dir()))
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--out: is not empty ({folder}). Name a new folder")
    if problems := machine_shortages(saved.config):
        raise ConfigError(*problems)
    old = read_record(run)
    with folder_for(folder):
        save_run(saved.config, saved.identity, folder)
    return old, run_saved(saved, folder)


def verdict(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """(whether the numbers are the same, lines about the comparison). Without an old record, whether the run is ok."""
    if old is None or old["status"] != "ok" or new["status"] != "ok":
        return new["status"] == "ok", ["there is no finished record to compare with"] if new["status"] == "ok" else []
    differences = [
        f"{key:<18} {old.get(key)} -> {new.get(key)}" for key in RERUN_COMPARED if old.get(key) != new.get(key)
    ]
    if not differences:
        return True, [f"the same numbers: {', '.join(key for key in RERUN_COMPARED if new.get(key) is not None)}"]
    causes = [f"{key:<18} {old.get(key)} -> {new.get(key)}" for key in RERUN_EXPLAINS if old.get(key) != new.get(key)]
    return False, [
        "different numbers:",
        *differences,
        "possible causes:" if causes else "code, data, device, threads and versions are the same",
        *causes,
    ]


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.rerun", description=__doc__)
    parser.add_argument(
        "run", type=place, metavar="RUN_DIR", help="a run folder, with config.yaml, and result.json for the comparison"
    )
    parser.add_argument("--out", type=place, help="folder of the new run (default: RUN_DIR/again-<n>)")
    args = parser.parse_args(use_search_path(arguments))
    same, lines = verdict(*rerun(args.run, args.out))
    print(*lines, sep="\n")
    return 0 if same else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 the same numbers, 1 different numbers or a failed run, 2 refused, 130
    interrupted.
    """
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
