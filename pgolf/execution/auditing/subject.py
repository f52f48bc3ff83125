"""What is audited: the files of one finished run, read as a stranger's files, and the corpus of that run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from pgolf.config.folders import cache_dir
from pgolf.config.saved import SavedRun, load_saved
from pgolf.config.schema import Config, PathsConfig
from pgolf.data.loaded import LoadedCorpus
from pgolf.data.tokenizer import load_tokenizer
from pgolf.errors import ConfigError
from pgolf.execution.artifact import Artifact, unpack
from pgolf.execution.auditing.corpus import find_corpus
from pgolf.quant.container import read_container
from pgolf.records.metrics import Event, read_metrics
from pgolf.records.record import ARTIFACT, read_record
from pgolf.slots import Encoded


@dataclass(frozen=True)
class Subject:
    """A finished run. record: its result.json. events: the valid lines of metrics.jsonl. log_problems: of that file.

    artifact: the packed file, unpacked on the CPU. encoded: its tensors as they are packed, by config path. corpus: of
    the run; None where it is not here, for the reason `no_corpus`.
    """

    folder: Path
    saved: SavedRun
    record: Mapping[str, Any]
    events: list[Event]
    log_problems: list[str]
    artifact: Artifact
    encoded: Mapping[str, Encoded]
    corpus: LoadedCorpus | None
    no_corpus: str
    opens_files: bool = False

    @property
    def config(self) -> Config:
        return self.saved.config

    def tokenizer(self) -> sentencepiece.SentencePieceProcessor:
        """The tokenizer of the corpus."""
        assert self.corpus is not None
        return load_tokenizer(self.corpus.corpus.tokenizer)


def read_saved(folder: Path, cache: str | None = None) -> SavedRun:
    """The saved configuration of a run. cache: replaces its cache folder; None: the user's. Raises PgolfError."""
    return load_saved(folder, PathsConfig(str(folder.absolute()), cache or cache_dir()), reads_only=True)


def finished_record(folder: Path) -> Mapping[str, Any]:
    """The record of a run. Raises ConfigError if the run has not finished well."""
    record = read_record(folder)
    if record is None or record["status"] != "ok":
        state = "it has no record" if record is None else f"its status is {record['status']}"
        raise ConfigError(f"{folder}: is not a finished run, {state}. Only a finished run can be audited")
    return record


def open_subject(folder: Path, cache: str | None = None, *, opens_files: bool = False) -> Subject:
    """The run in a folder. cache: as for `read_saved`. opens_files: as for `find_corpus`.

    Raises PgolfError if it has not finished or cannot be read.
    """
    record = finished_record(folder)
    record = {**record, "steps": int(record["steps"])}  # a stranger's JSON may have 8.0
    saved, path = read_saved(folder, cache), folder / ARTIFACT
    artifact = unpack(path, torch.device("cpu"))
    events, problems = read_metrics(folder)
    corpus = find_corpus(saved.config, record, opens_files=opens_files)
    found, reason = (None, corpus) if isinstance(corpus, str) else (corpus, "")
    encoded = read_container(path)[1]
    return Subject(folder, saved, record, events, problems, artifact, encoded, found, reason, opens_files)
