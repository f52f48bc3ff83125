"""The text of a probe: a corpus that is scored on text that no run of the study scores.

By default the end of the training text is held out: it is scored by the probe, and what comes before it is trained on.
The validation text of the study is not a part of that corpus. So it stays apart also if the study scores more of it
later.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pgolf.data.loaded import LoadedCorpus, load_corpus
from pgolf.data.prepare.cache import prepare_entry
from pgolf.data.prepare.overlap import shared_windows
from pgolf.data.shard_files import ShardFiles, matching_files
from pgolf.data.shards import concatenated, read_shard, write_shard
from pgolf.errors import ConfigError
from pgolf.slots import Corpus

LARGEST_SHARE = 0.1  # of the training text that may be held out
WINDOW_TOKENS = 64
BLOCK_TOKENS = 8_000_000  # of a text that is looked through at once
MOST_SHARED = 0.01  # of the windows of the probe's text that the study's validation text may have, such as a licence
TRAIN, VAL, TOKENIZER = "probe_train", "probe_val", "tokenizer.model"


@dataclass(frozen=True)
class ProbeText:
    """overrides: those that choose the corpus. val_text_sha: SHA-256 of the scored text. targets: their number."""

    overrides: tuple[str, ...]
    val_text_sha: str
    targets: int
    description: str


def probe_text(corpus: Corpus, cache: Path, targets: int, val_glob: str | None) -> ProbeText:
    """The text of a probe for one corpus of the study. targets: held out at least. val_glob: shards of the user's own.

    Raises ConfigError if the text is the study's or overlaps it, DataError if a shard is damaged.
    """
    if val_glob and not matching_files(val_glob):
        raise ConfigError(f"--text: does not match any file ({val_glob}). Give a pattern such as 'folder/other_*.bin'")
    loaded = load_corpus(corpus)
    held_out = 0 if val_glob else tail_tokens(loaded, targets)
    key = {"data_sha": loaded.data_sha, "held_out_tokens": held_out}

    def make(folder: Path) -> dict[str, object]:
        shutil.copyfile(corpus.tokenizer, folder / TOKENIZER)
        names = [folder / f"{TRAIN}_{number:06d}.bin" for number in range(len(corpus.train_shards))]
        for source, name in zip(corpus.train_shards[: -1 if held_out else None], names, strict=False):
            link_or_copy(source, name)
        if held_out:
            last = read_shard(corpus.train_shards[-1])
            write_shard(names[-1], np.asarray(last[:-held_out]))
            write_shard(folder / f"{VAL}_000000.bin", np.asarray(last[-held_out:]))
        return {}

    folder = prepare_entry(cache, "probe", key, make).folder
    val = val_glob or str(folder / f"{VAL}_*.bin")
    own = ShardFiles(
        cache,
        train_glob=str(folder / f"{TRAIN}_*.bin"),
        val_glob=val,
        tokenizer=str(folder / TOKENIZER),
        vocab_size=corpus.vocab_size,
        shuffle_seed=None,
    ).prepare()
    refuse_overlap(own.val_shards, loaded, val_glob)
    own_loaded = load_corpus(own)
    size = len(own_loaded.val_tokens) - 1
    where = val_glob or "the end of the training text"
    overrides = (
        "data=shards",
        f"data.train_glob={folder / f'{TRAIN}_*.bin'}",
        f"data.val_glob={val}",
        f"data.tokenizer={folder / TOKENIZER}",
        f"data.vocab_size={corpus.vocab_size}",
    )
    return ProbeText(overrides, own_loaded.val_text_sha, size, f"{where}, {size:,} targets")


def tail_tokens(loaded: LoadedCorpus, targets: int) -> int:
    """How many tokens of the last training shard are held out: whole documents, with `targets` targets at least.

    Raises ConfigError if that is more than LARGEST_SHARE of the training text.
    """
    last = np.asarray(loaded.train[-1])
    wanted = targets + 1
    starts = np.flatnonzero(last[: max(len(last) - wanted + 1, 0)] == loaded.document_start)
    tail = len(last) - int(starts[-1]) if len(starts) else 0
    tail = tail if wanted <= tail <= 2 * wanted else wanted  # without a document's start nearby, within a document
    if tail >= len(last) or tail > LARGEST_SHARE * loaded.train_tokens:
        most = int(min(LARGEST_SHARE * loaded.train_tokens, len(last)) / 2)
        raise ConfigError(
            f"study.probe.targets: holds out {tail:,} of {loaded.train_tokens:,} training tokens ({targets:,}). Give "
            f"at most {most:,}, or a text of your own with --text"
        )
    return tail


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file that is never changed; a copy on another file system."""
    with suppress(OSError):
        os.link(source.resolve(), target)
        return
    shutil.copyfile(source, target)


def refuse_overlap(val_shards: Sequence[Path], study: LoadedCorpus, val_glob: str | None) -> None:
    """Raise ConfigError if the text of a probe has windows of the study's validation text, or of its training text."""
    own = concatenated([read_shard(path) for path in val_shards])
    windows = max(len(own) - WINDOW_TOKENS + 1, 1)
    texts = [("validation", [study.val_tokens]), *([("training", study.train)] if val_glob else [])]
    for name, arrays in texts:
        shared = np.zeros(windows, dtype=bool)
        for array in arrays:
            for start in range(0, len(array), BLOCK_TOKENS):
                block = np.asarray(array[start : start + BLOCK_TOKENS + WINDOW_TOKENS - 1])
                shared[shared_windows(own, block, WINDOW_TOKENS)] = True
        if (share := float(shared.mean())) > MOST_SHARED:
            raise ConfigError(
                f"--text: {share:.0%} of its windows of {WINDOW_TOKENS} tokens are in the study's {name} text "
                f"({val_glob or 'the end of the training text'}). Give text that the study does not use"
            )
