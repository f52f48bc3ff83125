"""What is audited: the files of one finished run, read as a stranger's files, and the corpus of that run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from pgolf.config.build import build_data
from pgolf.config.folders import cache_dir
from pgolf.config.saved import SavedRun, load_saved
from pgolf.config.schema import Config, PathsConfig
from pgolf.data.loaded import LoadedCorpus, load_corpus
from pgolf.data.prepare.cache import nothing_new
from pgolf.data.tokenizer import load_tokenizer
from pgolf.errors import ConfigError, PgolfError
from pgolf.quant.container import read_container
from pgolf.records.metrics import Event, read_metrics
from pgolf.records.record import read_record
from pgolf.run.artifact import Artifact, unpack
from pgolf.run.finish import ARTIFACT
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

    @property
    def config(self) -> Config:
        return self.saved.config

    def tokenizer(self) -> sentencepiece.SentencePieceProcessor:
        """The tokenizer of the corpus."""
        assert self.corpus is not None
        return load_tokenizer(self.corpus.corpus.tokenizer)


def read_saved(folder: Path, cache: str | None = None) -> SavedRun:
    """The saved configuration of a run. cache: replaces its cache folder; None: the user's. Raises PgolfError."""
    return load_saved(folder, PathsConfig(str(folder.absolute()), cache or cache_dir()))


def open_subject(folder: Path, cache: str | None = None) -> Subject:
    """The run in a folder. cache: as for `read_saved`. Raises PgolfError if it has not finished or cannot be read."""
    record = read_record(folder)
    if record is None or record["status"] != "ok":
        state = "it has no record" if record is None else f"its status is {record['status']}"
        raise ConfigError(f"{folder}: is not a finished run, {state}. Only a finished run can be audited")
    record = {**record, "steps": int(record["steps"])}  # a stranger's JSON may have 8.0
    saved, path = read_saved(folder, cache), folder / ARTIFACT
    artifact = unpack(path, torch.device("cpu"))
    events, problems = read_metrics(folder)
    corpus = open_corpus(saved.config, record)
    found, reason = (None, corpus) if isinstance(corpus, str) else (corpus, "")
    return Subject(folder, saved, record, events, problems, artifact, read_container(path)[1], found, reason)


def cached_corpus(config: Config) -> LoadedCorpus:
    """The corpus of a configuration, if it is in the cache. Raises PgolfError if it would have to be made."""
    with nothing_new():
        return load_corpus(build_data(config).prepare())


def open_corpus(config: Config, record: Mapping[str, Any]) -> LoadedCorpus | str:
    """The corpus of a run, or the reason why it cannot be used. A stranger's file makes and downloads nothing."""
    try:
        corpus = cached_corpus(config)
    except PgolfError as error:
        return f"the corpus cannot be opened: {' '.join(str(error).split())}"
    if corpus.data_sha != record["data_sha"]:
        here, recorded = corpus.data_sha[:12], record["data_sha"][:12]
        return f"the corpus here is another one (data_sha {here}, the record has {recorded})"
    return corpus
