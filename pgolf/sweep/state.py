"""A planned job and what is to be done about it: nothing, going on from a checkpoint, or running it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from pgolf.config.auto import decide_auto
from pgolf.config.build import build_data
from pgolf.config.compose import plain
from pgolf.config.identity import decisive, identify, run_folder
from pgolf.data.loaded import data_sha256
from pgolf.errors import PgolfError
from pgolf.machine.locks import locked
from pgolf.records.plan import PlannedCell
from pgolf.records.record import FINISHED, LOCK, RECORD, flat, read_record
from pgolf.run.provenance import changed_code, versions
from pgolf.run.trained import weights_sha
from pgolf.slots import Corpus
from pgolf.training.checkpoint import read_state

SHOWN = 4  # names in a reason before the rest is counted


@dataclass(frozen=True)
class Planned:
    """One job: its resolved configuration, what its record will say of it, and its run folder."""

    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    folder: Path
    label: str

    def entry(self, plan_folder: Path) -> PlannedCell:
        """How it stands in the plan of its study."""
        inside = self.folder.relative_to(plan_folder).as_posix()
        return PlannedCell(
            self.identity["study"], self.identity["arm"], self.config["seed"], self.identity["fingerprint"], inside
        )


@dataclass(frozen=True)
class State:
    """What is to be done about a job, and why; `record` where there is nothing to do."""

    kind: Literal["done", "continue", "run", "refused"]
    why: str
    record: Mapping[str, Any] | None = None

    @property
    def is_news(self) -> bool:
        """Whether it is more than a first run or a finished one."""
        return self.kind == "continue" or self.why.startswith(("again", "from"))


def plan_cell(cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], *, in_sweep: bool) -> Planned:
    """The job of a composed configuration."""
    config = decide_auto(plain(cfg), in_sweep=in_sweep)
    config["study"] = {key: config["study"][key] for key in ("name", "arm")}  # study.json has the rest
    identity = identify(cfg, overrides, choices, in_sweep=in_sweep)
    return Planned(config, identity, run_folder(config, identity), f"{identity['arm']} seed={config['seed']}")


def state_of(cell: Planned, since: float | None = None) -> State:
    """Raises PgolfError where the folder holds a damaged record or that of another configuration, unless
    launch.rerun=true sets it aside.

    since: under launch.rerun=true, Unix seconds from which on a record counts as run again; None where none does.
    """
    rerun = cell.config["launch"]["rerun"]
    try:
        record = read_record(cell.folder)
        if record is not None:
            refuse_foreign(record, cell)
    except PgolfError:
        if not rerun:
            raise
        return State("run", "again: launch.rerun=true")
    if record is not None and record["status"] in FINISHED:
        if rerun and (since is None or record["ended_at"] < since):
            return State("run", "again: launch.rerun=true")
        changed = changes(record, cell.config, any_code=cell.config["launch"]["keep_older_code"])
        return State("run", f"again: {changed}") if changed else State("done", "already run", record)
    kept = read_state(cell.folder)
    if kept is not None:
        step, key = kept["trace"]["steps"], kept["key"]
        same = all(
            key.get(name) == wanted
            for name, wanted in (("seed", cell.config["seed"]), ("fingerprint", cell.identity["fingerprint"]))
        )
        changed = (
            changes(key, cell.config, any_code=False) if same else "its checkpoint belongs to another configuration"
        )
        if changed is None and key["versions.torch"] != versions()["versions.torch"]:
            changed = f"its checkpoint was made by torch {key['versions.torch']}"
        return State("run", f"from the start: {changed}") if changed else State("continue", f"continues at step {step}")
    if record is not None:
        return State("run", f"again: it {'was interrupted' if record['status'] == 'interrupted' else 'failed'}")
    return State("run", other_configuration(cell) or "not run yet")


def refuse_foreign(record: Mapping[str, Any], cell: Planned) -> None:
    for name, wanted in (("fingerprint", cell.identity["fingerprint"]), ("seed", cell.config["seed"])):
        if record.get(name) != wanted:
            raise PgolfError(
                f"{cell.folder / RECORD}: is the record of another run ({name} {record.get(name)}, not {wanted}). "
                "Move its folder away, "
                "or run with launch.rerun=true, which keeps it aside"
            )


def changes(noted: Mapping[str, Any], config: Mapping[str, Any], *, any_code: bool) -> str | None:
    """What is no longer as a record or a checkpoint notes it; None where all is."""
    code = [] if any_code else changed_code(noted["code_files"])
    if code:
        return f"code changed ({shown(code)})"
    if "data_sha" in noted and known_data_sha(build_data(config).prepare()) != noted["data_sha"]:
        return "data changed"
    if "from.weights_sha" in noted and weights_sha(Path(config["train"]["from"])) != noted["from.weights_sha"]:
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


def other_configuration(cell: Planned) -> str | None:
    """What differs from a run of the same arm and seed under another fingerprint: a default or a rule has changed
    since.
    """
    here = flat({k: v for k, v in decisive(cell.config).items() if k != "seed"}, "config")
    for folder in sorted(cell.folder.parent.glob(f"seed{cell.config['seed']}-*")):
        try:
            record = read_record(folder) if folder != cell.folder else None
        except PgolfError:
            record = None
        if record is None or record["status"] not in FINISHED:
            continue
        there = {key: value for key, value in record.items() if key.startswith("config.")}
        differ = [key for key in sorted(here.keys() | there.keys()) if here.get(key) != there.get(key)]
        told = [f"{key.removeprefix('config.')} {there.get(key)} -> {here.get(key)}" for key in differ]
        return (
            f"again: configuration changed since {folder.name} "
            f"({shown(told) or 'a setting that its record does not show'})"
        )
    return None


@contextmanager
def lock_run_folder(folder: Path, label: str) -> Iterator[None]:
    """Hold a run folder, made where it is missing; wait, and say so, while another process has it. Raises OSError,
    PgolfError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, lambda: print(f"{label}: another process runs it; waiting", flush=True)):
        yield
