"""A packed model, ready to score and to generate text: `pgolf.open_artifact(path)`.

Shapes: N tokens of one text, so N-1 targets; B windows, T tokens per window, S scored targets, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from torch import Tensor

from pgolf.data.tokenizer import SPACE, ByteTable
from pgolf.errors import ConfigError, DataError
from pgolf.eval.score import batches
from pgolf.eval.sliding import Sliding
from pgolf.execution.artifact import Artifact, unpack
from pgolf.sample.generate import Generated, Sampling, generate
from pgolf.sample.tokenizer_search import find_tokenizer

BATCH_TOKENS = 16_384  # of one forward pass
SHOWN = 40  # characters of a text in a message
Ids = Sequence[int] | np.ndarray | Tensor


@dataclass(frozen=True)
class TextScore:
    """The score of one text. bpb: bits per byte of the targets; None for ids without a tokenizer. nats: per target.

    targets: scored tokens, all but the first. bytes: of their text.
    """

    bpb: float | None
    nats: float
    targets: int
    bytes: int | None


class PackedModel:
    """A model that was read from a packed file alone, on the CPU in fp32.

    config: the section `model` of its configuration. seq_len: the context it was trained with. vocab_size: V.
    """

    def __init__(self, artifact: Artifact, tokenizer: Path | None, option: str = "tokenizer"):
        self.config, self.model = artifact.section, artifact.model
        self.seq_len, self.vocab_size = self.config.seq_len, self.config.vocab_size
        self.file_bytes, self.tokenizer_sha256 = artifact.file_bytes, artifact.tokenizer_sha256
        self._path, self._option = tokenizer, option

    def __repr__(self) -> str:
        parameters = sum(tensor.numel() for tensor in self.model.parameters())
        return f"<packed model: {parameters:,} parameters in {self.file_bytes:,} bytes, context {self.seq_len}>"

    @cached_property
    def tokenizer(self) -> sentencepiece.SentencePieceProcessor:
        """The model's tokenizer, found by its hash when it is first needed. Raises DataError."""
        return find_tokenizer(self.tokenizer_sha256, self.vocab_size, self._path, self._option)

    @cached_property
    def _byte_table(self) -> ByteTable:
        return ByteTable.of(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """BOS and the ids of a text. Raises DataError for characters that the tokenizer has no piece for."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(f"text: is not Unicode text ({text[:SHOWN]!r}). Give text without surrogates") from None
        ids = [self.tokenizer.bos_id(), *self.tokenizer.encode(text.replace(SPACE, " "))]
        if self.tokenizer.unk_id() in ids:
            lost = [c for c in dict.fromkeys(text) if self.tokenizer.unk_id() in self.tokenizer.encode(c)]
            raise DataError(
                f"text: has characters that the tokenizer has no piece for ({''.join(lost)[:SHOWN]!r}). Leave them out"
            )
        return ids

    def logp(self, ids: Ids) -> np.ndarray:
        """log p of every piece after each of at most seq_len ids, in nats: fp32 [N, V]. Raises DataError."""
        tokens = self._ids(ids, fewest=1)
        if len(tokens) > self.seq_len:
            raise DataError(f"ids: are {len(tokens):,}, more than the context. Give at most {self.seq_len:,}")
        with torch.inference_mode():
            return np.asarray(self.model.head.logp(self.model.hidden(tokens[None]))[0].numpy())

    def nll(self, ids: Ids) -> np.ndarray:
        """-log p of each target of a text in nats, fp32 [N-1]. Target i is token i+1. Raises DataError.

        A text longer than the context is scored in windows that overlap by half, so that each target but the first
        has at least half a context, or all of the text before it.
        """
        tokens = self._ids(ids, fewest=2)
        plan = Sliding(self.seq_len, stride=max(1, self.seq_len // 2), max_targets=None)
        nats = np.empty(len(tokens) - 1, np.float32)
        with torch.inference_mode():
            for batch in batches(plan.windows(len(tokens) - 1), BATCH_TOKENS):
                ids_BT = torch.stack([tokens[w.start : w.stop] for w in batch])
                targets_BS = torch.stack([tokens[w.scored + 1 : w.stop + 1] for w in batch])
                for window, row in zip(batch, self.model(ids_BT, targets_BS), strict=True):
                    nats[window.scored : window.stop] = row.numpy()
        return nats

    def score(self, text: str | Ids) -> TextScore:
        """Bits per byte of a text, or of ids that begin with BOS, by `nll`. Raises DataError.

        Bytes are those of the text as the tokenizer normalises it.
        """
        is_text = isinstance(text, str)
        pieces = self.encode(text) if isinstance(text, str) else text
        if is_text and len(pieces) < 2:
            raise DataError(f"text: has nothing to score ({text!r:.80}). Give one with at least one token")
        ids = self._ids(pieces, fewest=2)
        nats = float(self.nll(ids).sum(dtype=np.float64))
        try:
            size = self._byte_table.total_bytes(ids.numpy())
        except DataError:
            if is_text:
                raise
            return TextScore(None, nats / (len(ids) - 1), len(ids) - 1, None)
        if size == 0:
            raise DataError("text: has no bytes to score. Give a longer one")
        return TextScore(nats / math.log(2) / size, nats / (len(ids) - 1), len(ids) - 1, size)

    def generate(
        self, prompt: str = "", *, tokens: int = 100, temperature: float = 0.8, top_p: float = 0.95, seed: int = 1
    ) -> str:
        """The prompt and the text that the model continues it with. See `sample` for the arguments."""
        return self.sample(prompt, tokens=tokens, temperature=temperature, top_p=top_p, seed=seed).text

    def sample(
        self, prompt: str = "", *, tokens: int = 100, temperature: float = 0.8, top_p: float = 0.95, seed: int = 1
    ) -> Generated:
        """Continue a prompt. The same arguments give the same text on the same machine.

        prompt: empty for a new document. tokens: how many are drawn at most; the model may end its document before.
        temperature: 0 takes the most probable token, 1 draws from the model's distribution. top_p: draw among the
        fewest tokens that have at least this probability together. Raises ConfigError, DataError.
        """
        sampling = Sampling(tokens, temperature, top_p, seed)
        if problems := sampling.problems():
            raise ConfigError(*problems)
        return generate(self.model, self.tokenizer, self.encode(prompt), self.seq_len, sampling)

    def _ids(self, ids: Any, *, fewest: int) -> Tensor:
        """Ids as a tensor, int64 [N]. Raises DataError for ids of another shape, type or vocabulary."""
        try:
            array = np.asarray(ids)
        except (TypeError, ValueError):
            array = np.empty((), object)
        if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) < fewest:
            raise DataError(f"ids: are not a list of {fewest} or more whole numbers. Give the ids of one text")
        outside = array[(array < 0) | (array >= self.vocab_size)]
        if len(outside):
            raise DataError(f"ids: {outside[0]} is outside the vocabulary. Give ids from 0 to {self.vocab_size - 1}")
        return torch.from_numpy(array.astype(np.int64))


def open_artifact(path: str | PathLike[str], *, tokenizer: str | PathLike[str] | None = None) -> PackedModel:
    """A packed model, from its file or its run folder. The file is not trusted: reading it runs nothing that it names.

    tokenizer: the SentencePiece .model file of its corpus, needed for text; by default the one in the cache of corpora
    that has the hash in the packed file. Raises ArtifactError; a wrong or absent tokenizer is a DataError when it is
    needed.
    """
    return opened(Path(path), None if tokenizer is None else Path(tokenizer), "tokenizer")


def opened(path: Path, tokenizer: Path | None, option: str) -> PackedModel:
    """`open_artifact`. option: how the user gives the tokenizer, for messages."""
    return PackedModel(unpack(path, torch.device("cpu")), tokenizer, option)
