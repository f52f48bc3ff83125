"""A run of a command, and what is to be done about it: nothing, resuming from a checkpoint, or running it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data
from pgolf.config.composition import ComposedRun
from pgolf.config.identity import decisive, identify, run_folder
from pgolf.config.schema import Config, StudyConfig, plain_config
from pgolf.data.loaded import data_sha256
from pgolf.errors import PgolfError
from pgolf.machine.locks import locked
from pgolf.records.record import FINISHED, LOCK, RECORD, flat, read_record
from pgolf.run.provenance import changed_code, versions
from pgolf.run.trained import weights_sha
from pgolf.slots import Corpus
from pgolf.sweep.runs import Run
from pgolf.training.checkpoint import read_state

SHOWN = 4  # names in a reason before the rest is counted


class Reason(Enum):
    """Why a run is in its state."""

    NEW = "not run yet"
    DONE = "already run"
    RESUMES = "continues at step"
    AGAIN = "again"  # a record or a checkpoint exists and does not count
    FROM_START = "from the start"  # a checkpoint exists and does not fit
    REFUSED = "cannot be run"


@dataclass(frozen=True)
class State:
    """What is to be done about a run, and why. detail: the rest of the reason. record: the finished one, if any."""

    kind: Literal["done", "continue", "run", "refused"]
    reason: Reason
    detail: str = ""
    record: Mapping[str, Any] | None = None

    @property
    def why(self) -> str:
        """The reason as a user reads it."""
        colon = "" if self.reason is Reason.RESUMES else ":"
        return f"{self.reason.value}{colon} {self.detail}" if self.detail else self.reason.value

    @property
    def is_news(self) -> bool:
        """Whether a user wants to be told: the run is neither new nor finished."""
        return self.reason in (Reason.RESUMES, Reason.AGAIN, Reason.FROM_START)


def plan_run(composed: ComposedRun, *, in_sweep: bool) -> Run:
    """The run of a composed configuration: every `auto` decided, identified, with its folder."""
    config = decide_auto(composed.config, in_sweep=in_sweep)
    config = replace(config, study=StudyConfig(config.study.name, config.study.arm))  # study.json has the rest
    identity = identify(composed.composed, composed.overrides, composed.choices, in_sweep=in_sweep)
    return Run(config, identity, run_folder(config, identity), f"{identity['arm']} seed={config.seed}")


def state_of(run: Run, since: float | None = None) -> State:
    """What is to be done about a run.

    since: under launch.rerun=true, Unix seconds from which on a record counts as run again; None where none does.
    Raises PgolfError where the folder holds a damaged record or that of another configuration, unless
    launch.rerun=true archives it.
    """
    asked_again = State("run", Reason.AGAIN, "launch.rerun=true")
    try:
        record = read_record(run.folder)
        if record is not None:
            refuse_foreign(record, run)
    except PgolfError:
        if not run.config.launch.rerun:
            raise
        return asked_again
    if record is not None and record["status"] in FINISHED:
        if run.config.launch.rerun and (since is None or record["ended_at"] < since):
            return asked_again
        changed = changes(record, run.config, any_code=run.config.launch.keep_older_code)
        return State("run", Reason.AGAIN, changed) if changed else State("done", Reason.DONE, record=record)
    if (checkpoint := read_state(run.folder)) is not None:
        changed = checkpoint_changes(checkpoint["key"], run)
        if changed is not None:
            return State("run", Reason.FROM_START, changed)
        return State("continue", Reason.RESUMES, str(checkpoint["trace"]["steps"]))
    if record is not None:
        return State("run", Reason.AGAIN, f"it {'was interrupted' if record['status'] == 'interrupted' else 'failed'}")
    changed = other_configuration(run)
    return State("run", Reason.AGAIN, changed) if changed else State("run", Reason.NEW)


def checkpoint_changes(key: Mapping[str, Any], run: Run) -> str | None:
    """Why a run cannot go on from a checkpoint with this key; None if it can."""
    if (key.get("seed"), key.get("fingerprint")) != (run.config.seed, run.identity["fingerprint"]):
        return "its checkpoint belongs to another configuration"
    changed = changes(key, run.config, any_code=False)
    if changed is None and key["versions.torch"] != versions()["versions.torch"]:
        return f"its checkpoint was made by torch {key['versions.torch']}"
    return changed


def refuse_foreign(record: Mapping[str, Any], run: Run) -> None:
    """Raise PgolfError for the record of another run."""
    for name, own in (("fingerprint", run.identity["fingerprint"]), ("seed", run.config.seed)):
        if record.get(name) != own:
            raise PgolfError(
                f"{run.folder / RECORD}: is the record of another run ({name} {record.get(name)}, not {own}). "
                "Move its folder away, or run with launch.rerun=true, which archives it"
            )


def changes(noted: Mapping[str, Any], config: Config, *, any_code: bool) -> str | None:
    """What has changed since a record or checkpoint was written; None if nothing has. noted: its fields."""
    code = [] if any_code else changed_code(noted["code_files"])
    if code:
        return f"code changed ({shown(code)})"
    if "data_sha" in noted and known_data_sha(build_data(config).prepare()) != noted["data_sha"]:
        return "data changed"
    if "from.weights_sha" in noted and weights_sha(Path(config.train.parent or "")) != noted["from.weights_sha"]:
        return "the weights at train.from changed"
    return None


def shown(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def known_data_sha(corpus: Corpus) -> str:
    """The corpus's identity, read once for unchanged files."""
    files = (*corpus.train_shards, *corpus.val_shards, corpus.tokenizer)
    return _data_sha(corpus, tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in files))


@lru_cache(maxsize=64)
def _data_sha(corpus: Corpus, files: tuple[tuple[int, int], ...]) -> str:
    return data_sha256(corpus)


def other_configuration(run: Run) -> str | None:
    """How the configuration differs from that of a finished run of the same arm and seed: a default or a rule has
    changed since. None if there is no such run.
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
        what = shown(differences) or "a setting that its record does not show"
        return f"configuration changed since {folder.name} ({what})"
    return None


@contextmanager
def lock_run_folder(folder: Path, label: str) -> Iterator[None]:
    """Hold the lock of a run folder, made where it is missing. Waits, and says so, while another process has it.

    Raises OSError, PgolfError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, lambda: print(f"{label}: another process runs it; waiting", flush=True)):
        yield
