"""The audit of a run after it has ended (`launch.audit=true`), as a process of its own: audit.json in its folder."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pgolf.command import FAILED, OK
from pgolf.machine.files import write_lines
from pgolf.records.audits import AUDIT, broken_rules
from pgolf.sweep.runs import Run


def audit_process(folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """The command that audits a run, with more variables of the environment. The run's configuration is the user's."""
    words = [sys.executable, "-m", "pgolf.audit", str(folder), "--json", "--open-corpus"]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def audit_once(run: Run, status: str) -> list[str]:
    """Audit a finished run that has no audit yet. Returns its broken rules. Raises OSError if the disk is full.

    The process loads more of pgolf than a worker does, so the code that a record counts does not depend on it.
    """
    if not run.config.launch.audit or status != "ok":
        return []
    if not (run.folder / AUDIT).exists():
        environment = {"OMP_NUM_THREADS": run.config.train.threads, "PGOLF_CACHE": run.config.paths.cache}
        done = audit_process(run.folder, environment)
        lines = done.stderr.strip().splitlines() or [f"the audit ended with exit code {done.returncode}"]
        refused = json.dumps([{"path": str(run.folder), "refusal": lines[-1], "counts": None, "checks": None}])
        write_lines(run.folder / AUDIT, [done.stdout if done.returncode in (OK, FAILED) and done.stdout else refused])
    return broken_rules(run.folder) or []
