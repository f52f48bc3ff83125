"""`python -m pgolf.status FOLDER [--json | --watch]`: the state of each planned run of a sweep, read from its files.

FOLDER is a study's folder (multirun/adhoc) or its parent. Nothing is written, and a running sweep is not disturbed.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from pgolf.command import FAILED, OK, Parser, run, tell
from pgolf.errors import ConfigError, DamagedFile
from pgolf.pages.terminal import overview, runs_table, title_of
from pgolf.records.sweep_state import report, studies

REFRESH_S = 2.0  # seconds between two looks of --watch
IDLE_S = 60.0  # without a running run, after which --watch ends: a killed sweep leaves runs that wait for ever
UNFINISHED = ("running", "waiting", "interrupted")


def show(study: Mapping[str, Any], console: Console) -> None:
    """Print one row per run."""
    console.print(runs_table(study, title=title_of(study)))


def look(folders: Sequence[Path]) -> tuple[list[dict[str, Any]], list[DamagedFile]]:
    """The reports of the folders whose plan can be read, and the errors of the others. Raises if there is no report."""
    reports, damaged = [], []
    for folder in folders:
        try:
            reports.append(report(folder))
        except DamagedFile as error:
            damaged.append(error)
    if damaged and not reports:
        raise damaged[0]
    return reports, damaged


def wait_for_sweep(folder: Path, console: Console) -> None:
    """Wait up to IDLE_S for the first sweep in a folder, which is written after the checks of its command."""
    until, waits = time.monotonic() + IDLE_S, False
    while time.monotonic() < until:
        try:
            studies(folder)
            return
        except ConfigError:
            if not waits:
                console.print(f"waiting for a sweep in {folder}", markup=False, soft_wrap=True)
            waits = True
            time.sleep(REFRESH_S)


def watch(folder: Path, console: Console) -> None:
    """Show the state of the sweeps in a folder until every run has ended, or nothing has been running for IDLE_S.

    A terminal is refreshed in place. Elsewhere a line is printed whenever the number of runs in a state changes.
    Raises KeyboardInterrupt, PgolfError.
    """
    wait_for_sweep(folder, console)
    counts: list[Any] = []
    active = time.monotonic()
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            reports, _ = look(studies(folder))
            if live is not None:
                live.update(overview(reports), refresh=True)
            elif counts != (counts := [each["count"] for each in reports]):
                console.print(*map(title_of, reports), sep="\n", soft_wrap=True)
            now = time.monotonic()
            active = now if any(each["count"].get("running") for each in reports) else active
            if now - active >= IDLE_S or not any(each["count"].get(state) for each in reports for state in UNFINISHED):
                return
            time.sleep(REFRESH_S)


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.status", description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("multirun"),
        help="a study's folder, or its parent (multirun)",
    )
    parser.add_argument("--json", action="store_true", help="a JSON list: study, at, count, left_s (seconds), cells")
    parser.add_argument(
        "--watch", action="store_true", help="refresh the view until all runs have ended, or none has run for a minute"
    )
    args = parser.parse_args(arguments)
    if args.watch and args.json:
        raise ConfigError("--watch: is a view for a terminal and cannot be given together with --json. Leave one out")
    if args.watch:
        with suppress(KeyboardInterrupt):
            watch(args.folder, Console())
        return OK
    reports, damaged = look(studies(args.folder))
    if args.json:
        print(json.dumps(reports, indent=1))
    else:
        for each in reports:
            show(each, Console())
    for each_error in damaged:
        tell(each_error)
    return FAILED if damaged else OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 if one of several plans is damaged; 2 for a folder without a readable sweep."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
