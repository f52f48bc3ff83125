"""The training stream, a pure function of the step: resuming needs no state, and ranks need not communicate.

A step has `micro_batches` micro-batches (world size times accumulation steps of the published trainer). Rank r of
`world` takes micro-batch k * world + r in accumulation step k, so the tokens of a step do not depend on the number of
ranks. Shapes: B sequences per micro-batch, T tokens each.

Published order (no shuffle seed): the shards are joined in lexicographic order and read in a cycle. Each micro-batch
consumes one span of B*T + 1 tokens, so one transition per span is never trained. Source: the baseline's loader.

Shuffled: the corpus is cut into windows of T + 1 tokens that start T tokens apart. Each epoch uses every window once,
in an order drawn from (seed, epoch). No transition is trained twice in an epoch, and a short rest at the end of the
corpus is never trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pgolf.errors import DataError, OptionError


class TokenStream:
    """Micro-batches of a corpus.

    arrays: 1-D token arrays, which may be memory maps, joined in this order. batch_tokens: targets per step. seq_len:
    T. micro_batches: micro-batches per step. shuffle_seed: None for the published order. Raises OptionError if
    batch_tokens is not a multiple of micro_batches * seq_len, DataError if the corpus is shorter than one span or
    window.
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        *,
        batch_tokens: int,
        seq_len: int,
        micro_batches: int,
        shuffle_seed: int | None,
    ) -> None:
        assert min(seq_len, micro_batches) > 0, (seq_len, micro_batches)
        if batch_tokens < 1 or batch_tokens % (micro_batches * seq_len):
            raise OptionError(
                "batch_tokens",
                batch_tokens,
                f"give a multiple of micro_batches x seq_len = {micro_batches} x {seq_len} tokens",
            )
        self._arrays = tuple(arrays)
        self._ends = np.cumsum([len(array) for array in arrays], dtype=np.int64)
        self.corpus_tokens = int(self._ends[-1]) if len(self._ends) else 0
        self.batch_tokens, self.seq_len, self.micro_batches, self.shuffle_seed = (
            batch_tokens,
            seq_len,
            micro_batches,
            shuffle_seed,
        )
        self.rows = batch_tokens // (micro_batches * seq_len)
        span = (self.rows if shuffle_seed is None else 1) * seq_len + 1
        if self.corpus_tokens < span:
            raise DataError(
                f"data: {self.corpus_tokens:,} training tokens are fewer than one "
                f"{'span' if shuffle_seed is None else 'window'} of {span:,}."
                " Use a larger corpus, or a smaller seq_len or batch"
            )
        self._windows = (self.corpus_tokens - 1) // seq_len
        self._orders: dict[int, np.ndarray] = {}

    @property
    def tokens_per_step(self) -> int:
        """Tokens of the corpus that a step consumes. The published order consumes one more per micro-batch."""
        return self.batch_tokens + (self.micro_batches if self.shuffle_seed is None else 0)

    def epochs(self, steps: int) -> float:
        """Passes over the corpus after `steps` steps."""
        per_epoch = self.corpus_tokens if self.shuffle_seed is None else self._windows * self.seq_len
        return steps * self.tokens_per_step / per_epoch

    def micro_batch(self, step: int, index: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [B, T], int64 on the CPU, of one micro-batch. step, index: counted from 0.

        The targets are the inputs shifted by one token.
        """
        assert step >= 0, step
        assert 0 <= index < self.micro_batches, (index, self.micro_batches)
        number = step * self.micro_batches + index
        if self.shuffle_seed is None:
            local = self.rows * self.seq_len
            span = torch.from_numpy(self._take(number * (local + 1), local + 1))
            return span[:-1].view(self.rows, self.seq_len), span[1:].view(self.rows, self.seq_len)
        windows = torch.from_numpy(np.stack([self._window(number * self.rows + row) for row in range(self.rows)]))
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def _take(self, start: int, count: int) -> np.ndarray:
        """Tokens `start .. start+count-1` of the cyclic stream, int64."""
        out = np.empty(count, dtype=np.int64)
        filled = 0
        while filled < count:
            position = (start + filled) % self.corpus_tokens
            which = int(np.searchsorted(self._ends, position, side="right"))
            array = self._arrays[which]
            offset = position - (int(self._ends[which]) - len(array))
            piece = array[offset : offset + count - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
        return out

    def _window(self, number: int) -> np.ndarray:
        """The T + 1 tokens of window `number` in training order, counted over all epochs, int64."""
        epoch, place = divmod(number, self._windows)
        return self._take(int(self._order(epoch)[place]) * self.seq_len, self.seq_len + 1)

    def _order(self, epoch: int) -> np.ndarray:
        """The permutation of the windows in `epoch`. Two are cached: a step may reach from one epoch into the next."""
        if epoch not in self._orders:
            digest = hashlib.sha256(f"{self.shuffle_seed} {epoch}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            while len(self._orders) > 1:
                del self._orders[min(self._orders, key=lambda known: -abs(known - epoch))]
            self._orders[epoch] = torch.randperm(self._windows, generator=generator).numpy()
        return self._orders[epoch]
