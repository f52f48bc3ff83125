"""Scoring with test-time training: adapters of a document are trained on its chunks, each after its score.

Shapes: N tokens of the text; B documents of a batch, T positions of a window, S targets of a chunk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pgolf.eval.adapters import Adapters, adapted_sites
from pgolf.eval.documents import Document, PerDocument
from pgolf.eval.score import Batching, Nll, Score, summed
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT
from pgolf.optim.adam import Adam
from pgolf.optim.start import leave_compiler_unimported
from pgolf.slots import Window

PADDING = 0  # token after the end of a document, which no earlier position sees
STATES = 3  # tensors per adapter: its values and the two averages of Adam


@dataclass(frozen=True)
class Adaptation:
    """How adapters are trained. chunk: targets per step. maps: the adapted maps. seed: of the initial A.

    lr, beta1, beta2, eps: of Adam.
    """

    rank: int
    chunk: int
    lr: float
    beta1: float
    beta2: float
    eps: float
    maps: tuple[str, ...]
    seed: int

    def state_bytes(self, model: GPT) -> int:
        """Bytes of memory for the adapters of one document and their optimizer states."""
        numbers = sum(self.rank * (site.inputs + site.outputs) for site in adapted_sites(model, self.maps))
        return STATES * numbers * next(model.parameters()).element_size()


class Observer(Protocol):
    """Is told the order of scores and steps, as `pgolf.audit.Recorder` is. Positions are those of tokens."""

    def scored(self, positions: Iterable[int], nats: Any = None) -> None: ...

    def trained(self, positions: Iterable[int]) -> None: ...

    def watch(self, optimizer: torch.optim.Optimizer) -> None: ...


@dataclass(frozen=True)
class Chunks:
    """The next chunk of every document of a batch. windows: where each lies in the text, shortened at a document's end.

    trained: the number of documents that have another chunk after this one. They come first.
    """

    windows: Sequence[Window]
    ids_BT: Tensor
    targets_BS: Tensor
    trained: int


class AdaptedScorer:
    """Scores documents, and trains adapters of their own on what has been scored. The weights of the model stay.

    Of a chunk, the score is that of the adapters before the step. The loss of the step is the mean of the same nats:
    one forward pass gives both. The last chunk of a document trains nothing. Every document starts from equal adapters
    and an Adam without memory, so that neither the order of documents nor the size of batches matters beyond rounding.
    """

    def __init__(
        self, nll: Nll, model: GPT, plan: PerDocument, batching: Batching, *, observer: Observer | None = None
    ):
        self.nll, self.model, self.plan, self.batching, self.observer = nll, model, plan, batching, observer
        self.adaptation: Adaptation = plan.adaptation
        self.sites = adapted_sites(model, self.adaptation.maps)

    def __call__(self, tokens_N: np.ndarray, bytes_N1: np.ndarray) -> Score:
        """The score of a text, in the form of `pgolf.eval.score.score`. Asserts that each target is scored once."""
        targets = len(tokens_N) - 1
        nats = torch.zeros(targets, dtype=torch.float64)
        times = torch.zeros(targets, dtype=torch.int32)
        tokens = torch.from_numpy(tokens_N.astype(np.int64))
        batches = self.batches(self.plan.documents(targets))
        for documents in batches[self.batching.ranks.rank :: self.batching.ranks.world]:
            for window, nats_S in self.scored(documents, tokens):
                nats[window.scored : window.stop] = nats_S
                times[window.scored : window.stop] += 1
        nats, times = self.batching.sum_over_ranks(nats), self.batching.sum_over_ranks(times)
        return summed(nats, times, bytes_N1, self.plan.name, self.plan.windows(targets))

    def batches(self, documents: Sequence[Document]) -> list[list[Document]]:
        """Documents with similar numbers of chunks together, the most first; in the order of the text if one by one."""
        size = max(1, self.batching.batch_tokens // max(1, self.model.dims.seq_len))
        if size > 1:
            documents = sorted(documents, key=lambda d: (-self.chunks_of(d), d.start))
        return [list(documents[i : i + size]) for i in range(0, len(documents), size)]

    def chunks_of(self, document: Document) -> int:
        """The number of chunks of a document, the last one perhaps short."""
        return -(-document.targets // self.adaptation.chunk)

    def scored(self, documents: Sequence[Document], tokens_N: Tensor) -> Iterable[tuple[Window, Tensor]]:
        """The chunks of a batch of documents, sorted by `batches`, with the nats [S] of their targets."""
        how, device = self.adaptation, self.batching.device
        dtype = next(self.model.parameters()).dtype
        adapters = Adapters(self.sites, len(documents), rank=how.rank, seed=how.seed, device=device, dtype=dtype)
        leave_compiler_unimported()
        rates = {"lr": how.lr, "beta1": how.beta1, "beta2": how.beta2, "eps": how.eps, "weight_decay": 0.0}
        optimizer = Adam(adapters.parameters(), Ranks(), **rates)
        if self.observer is not None:
            self.observer.watch(optimizer)
        plans = [self.plan.mode.document_windows(document.targets) for document in documents]
        for number in range(self.chunks_of(documents[0])):
            windows = [
                Window(d.start + w.start, d.start + w.scored, d.start + w.stop)
                for d, w in ((d, plan[number]) for d, plan in zip(documents, plans, strict=True) if number < len(plan))
            ]
            trained = sum(number + 1 < len(plan) for plan in plans)
            nats_BS = self.visit(self.inputs(windows, trained, tokens_N), adapters, optimizer)
            for window, row in zip(windows, nats_BS, strict=True):
                yield window, row[: window.stop - window.scored]

    def inputs(self, windows: Sequence[Window], trained: int, tokens_N: Tensor) -> Chunks:
        """Inputs and targets of windows of one chunk number. Where a document ends earlier, PADDING follows."""
        size = self.adaptation.chunk
        length = max(w.scored - w.start for w in windows) + size

        def padded(tokens: Tensor, to: int) -> Tensor:
            return torch.nn.functional.pad(tokens, (0, to - len(tokens)), value=PADDING)

        ids = torch.stack([padded(tokens_N[w.start : w.stop], length) for w in windows])
        targets = torch.stack([padded(tokens_N[w.scored + 1 : w.stop + 1], size) for w in windows])
        return Chunks(windows, ids.to(self.batching.device), targets.to(self.batching.device), trained)

    def visit(self, chunks: Chunks, adapters: Adapters, optimizer: torch.optim.Optimizer) -> Tensor:
        """Score a chunk of every document, then take the step. Returns nats [B, S] on the CPU, padding included."""
        nats_BS = self.nats(chunks, adapters)
        scores_BS = nats_BS.detach().cpu().double()
        self.tell_scores(chunks, scores_BS)
        if chunks.trained:
            self.tell_training(chunks)
            self.step(nats_BS[: chunks.trained], adapters, optimizer)
        return scores_BS

    def nats(self, chunks: Chunks, adapters: Adapters) -> Tensor:
        """Nats [B, S] of the targets with the adapters as they are, with a graph if a step will follow."""
        with torch.set_grad_enabled(chunks.trained > 0), adapters.attached():
            return self.nll(chunks.ids_BT, chunks.targets_BS)

    def step(self, nats_BS: Tensor, adapters: Adapters, optimizer: torch.optim.Optimizer) -> None:
        """One step on the mean nats of each document. Documents share no weight, so their losses may be added.

        An adapter of a map that the model did not apply, as in a block that an inspection skips, has the gradient zero.
        """
        parameters, loss = adapters.parameters(), nats_BS.mean(1).sum()
        if not loss.requires_grad:
            return  # no adapted map was applied
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
        optimizer.step()

    def tell_scores(self, chunks: Chunks, nats_BS: Tensor) -> None:
        """Tell the observer, if there is one, which tokens now have their scores."""
        for window, row in zip(chunks.windows, nats_BS, strict=True) if self.observer else ():
            assert self.observer is not None
            self.observer.scored(range(window.scored + 1, window.stop + 1), row[: window.stop - window.scored])

    def tell_training(self, chunks: Chunks) -> None:
        """Tell the observer, if there is one, which tokens the loss of the next step sees, inputs included."""
        if self.observer is not None:
            windows = chunks.windows[: chunks.trained]
            self.observer.trained([t for w in windows for t in range(w.start, w.stop + 1)])
