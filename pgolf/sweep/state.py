"""The state of a run: finished, to be resumed from a checkpoint, or to be run, with the reason."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data
from pgolf.config.composed_run import ComposedRun
from pgolf.config.identity import decisive, identify, run_folder
from pgolf.config.schema import Config, StudyConfig, plain_config
from pgolf.data.loaded import data_sha256
from pgolf.errors import PgolfError
from pgolf.execution.provenance import changed_code, versions
from pgolf.execution.trained import weights_sha
from pgolf.machine.locks import locked
from pgolf.records.record import FINISHED, LOCK, RECORD, flat, read_record
from pgolf.slots import Corpus
from pgolf.sweep.runs import Run
from pgolf.training.checkpoint import read_state

SHOWN = 4  # names in a reason; the others are counted


class Reason(Enum):
    """Why a run is in its state."""

    NEW = "not run yet"
    DONE = "already run"
    RESUMES = "continues at step"
    AGAIN = "again"  # there is a record that does not count
    FROM_START = "from the start"  # there is a checkpoint that cannot be used
    REFUSED = "cannot be run"


@dataclass(frozen=True)
class State:
    """What to do with a run, and why. detail: completes the reason. record: of a finished run."""

    kind: Literal["done", "continue", "run", "refused"]
    reason: Reason
    detail: str = ""
    record: Mapping[str, Any] | None = None

    @property
    def why(self) -> str:
        """The reason as text for the user."""
        colon = "" if self.reason is Reason.RESUMES else ":"
        return f"{self.reason.value}{colon} {self.detail}" if self.detail else self.reason.value

    @property
    def is_news(self) -> bool:
        """Whether the reason is worth a message: the run is neither new nor finished."""
        return self.reason in (Reason.RESUMES, Reason.AGAIN, Reason.FROM_START)


def plan_run(composed: ComposedRun, *, in_sweep: bool) -> Run:
    """The run of a composed configuration, with every `auto` decided. Raises ConfigError, DamagedFile."""
    config = decide_auto(composed.config, in_sweep=in_sweep)
    config = replace(config, study=StudyConfig(config.study.name, config.study.arm))  # the rest is in study.json
    identity = identify(composed.cfg, composed.overrides, composed.choices, in_sweep=in_sweep)
    return Run(config, identity, run_folder(config, identity), f"{identity['arm']} seed={config.seed}")


def state_of(run: Run, since: float | None = None) -> State:
    """What to do with a run, from the record and the checkpoint in its folder.

    since: with launch.rerun=true, the time in Unix seconds from which on a record counts as repeated; None: no record
    does. Raises PgolfError for a damaged record, or the record of another run, unless launch.rerun=true archives it.
    """
    rerun = State("run", Reason.AGAIN, "launch.rerun=true")
    try:
        record = read_record(run.folder)
        if record is not None:
            refuse_foreign(record, run)
    except PgolfError:
        if not run.config.launch.rerun:
            raise
        return rerun
    if record is not None and record["status"] in FINISHED:
        if run.config.launch.rerun and (since is None or record["ended_at"] < since):
            return rerun
        changed = changes(record, run.config, any_code=run.config.launch.keep_older_code)
        return State("run", Reason.AGAIN, changed) if changed else State("done", Reason.DONE, record=record)
    if (checkpoint := read_state(run.folder)) is not None:
        changed = checkpoint_changes(checkpoint["key"], run)
        if changed is not None:
            return State("run", Reason.FROM_START, changed)
        return State("continue", Reason.RESUMES, str(checkpoint["trace"]["steps"]))
    if record is not None:
        how = {"interrupted": "was interrupted", "pruned": "was stopped by a search"}.get(record["status"], "failed")
        return State("run", Reason.AGAIN, f"it {how}")
    changed = other_configuration(run)
    return State("run", Reason.AGAIN, changed) if changed else State("run", Reason.NEW)


def trial_state(run: Run, since: float | None = None) -> State:
    """As `state_of`, for a trial of a search: a trial that the search has stopped is done. Raises PgolfError."""
    record = read_record(run.folder)
    if record is None or record["status"] != "pruned" or run.config.launch.rerun:
        return state_of(run, since)
    refuse_foreign(record, run)
    changed = changes(record, run.config, any_code=run.config.launch.keep_older_code)
    return State("run", Reason.AGAIN, changed) if changed else State("done", Reason.DONE, record=record)


def checkpoint_changes(key: Mapping[str, Any], run: Run) -> str | None:
    """Why a run cannot resume from a checkpoint with this key; None if it can."""
    if (key.get("seed"), key.get("fingerprint")) != (run.config.seed, run.identity["fingerprint"]):
        return "its checkpoint belongs to another configuration"
    changed = changes(key, run.config, any_code=False)
    if changed is None and key["versions.torch"] != versions()["versions.torch"]:
        return f"its checkpoint was written by torch {key['versions.torch']}"
    return changed


def refuse_foreign(record: Mapping[str, Any], run: Run) -> None:
    """Raise PgolfError if a record in a run folder belongs to another run."""
    for name, own in (("fingerprint", run.identity["fingerprint"]), ("seed", run.config.seed)):
        if record.get(name) != own:
            raise PgolfError(
                f"{run.folder / RECORD}: is the record of another run ({name} {record.get(name)}, not {own}). "
                "Move its folder away, or run with launch.rerun=true, which archives it"
            )


def changes(before: Mapping[str, Any], config: Config, *, any_code: bool) -> str | None:
    """What has changed since a record or checkpoint was written; None if nothing has.

    before: its fields. any_code: ignore changes of the code. Raises PgolfError.
    """
    code = [] if any_code else changed_code(before["code_files"])
    if code:
        return f"code changed ({first_names(code)})"
    if "data_sha" in before and cached_data_sha(build_data(config).prepare()) != before["data_sha"]:
        return "data changed"
    if "from.weights_sha" in before and weights_sha(Path(config.train.parent or "")) != before["from.weights_sha"]:
        return "the weights at train.from changed"
    return None


def first_names(names: Sequence[str]) -> str:
    """`a, b, c, d and 3 more`."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def cached_data_sha(corpus: Corpus) -> str:
    """The hash of a corpus. Cached until one of its files changes."""
    files = (*corpus.train_shards, *corpus.val_shards, corpus.tokenizer)
    return _data_sha(corpus, tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in files))


@lru_cache(maxsize=64)
def _data_sha(corpus: Corpus, files: tuple[tuple[int, int], ...]) -> str:
    return data_sha256(corpus)


def other_configuration(run: Run) -> str | None:
    """How a configuration differs from that of a finished run with the same arm and seed; None if there is none.

    Such a run exists if a default value has changed since then.
    """
    here = flat({k: v for k, v in decisive(plain_config(run.config)).items() if k != "seed"}, "config")
    for folder in sorted(run.folder.parent.glob(f"seed{run.config.seed}-*")):
        try:
            record = read_record(folder) if folder != run.folder else None
        except PgolfError:
            record = None
        if record is None or record["status"] not in FINISHED:
            continue
        there = {key: value for key, value in record.items() if key.startswith("config.")}
        differing = [key for key in sorted(here.keys() | there.keys()) if here.get(key) != there.get(key)]
        differences = [f"{key.removeprefix('config.')} {there.get(key)} -> {here.get(key)}" for key in differing]
        detail = first_names(differences) or "an option that its record does not contain"
        return f"configuration changed since {folder.name} ({detail})"
    return None


@contextmanager
def lock_run_folder(folder: Path, label: str) -> Iterator[None]:
    """A context that holds the lock of a run folder, which is created if missing.

    Waits while another process holds the lock, and prints a line about it. Raises OSError, PgolfError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, lambda: print(f"{label}: another process runs it; waiting", flush=True)):
        yield
