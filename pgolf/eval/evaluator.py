"""Scoring of models on one corpus in one mode, for training, packing and `evaluate`."""

from collections.abc import Callable

import torch
from torch import Tensor

from pgolf.data.loaded import LoadedCorpus
from pgolf.eval.adaptation import AdaptedScorer
from pgolf.eval.documents import PerDocument, document_scores, document_starts, mode_on
from pgolf.eval.score import Batching, Score, estimate, planned_windows, score
from pgolf.machine.precision import autocast
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT
from pgolf.quant.fake import Fake, FakeQuantized
from pgolf.records.documents import DocumentScores
from pgolf.slots import DocumentMode, EvalMode

# Tokens per forward pass of an evaluation. The size is fixed, so that scores are repeatable bit for bit.
BATCH_TOKENS = {"cpu": 4096, "cuda": 131_072, "mps": 32_768}


class Evaluation:
    """Scores models on one corpus in one mode.

    Raises DataError, when it is built, for a mode that scores no target, or documents in a text without any. bf16: run
    forward passes under autocast to bf16.
    """

    def __init__(
        self, mode: EvalMode | DocumentMode, corpus: LoadedCorpus, ranks: Ranks, device: torch.device, *, bf16: bool
    ):
        self.mode, self.corpus, self.ranks, self.device, self.bf16 = mode_on(mode, corpus), corpus, ranks, device, bf16
        self.reach: int | None = getattr(mode, "reach", None)
        self.batching = Batching(device, BATCH_TOKENS[device.type], ranks)
        planned_windows(self.mode, len(corpus.val_tokens) - 1)  # raises before training, not after
        self.bytes_N1 = corpus.byte_table.bytes_per_target(corpus.val_tokens)

    def nll(self, model: GPT, fake: Fake | None) -> Callable[[Tensor, Tensor], Tensor]:
        """The model's nll(ids, targets) in the precision of this evaluation, on fake-quantized weights if asked."""
        forward = model if fake is None else FakeQuantized(model, fake)

        def nll_in_precision(ids: Tensor, targets: Tensor) -> Tensor:
            with autocast(self.device, self.bf16):
                return forward(ids, targets, self.reach)

        return nll_in_precision

    def __call__(self, model: GPT, fake: Fake | None = None) -> Score:
        """The score of a model. fake: score it on fake-quantized weights (a defect of a published run)."""
        model.eval()
        nll, tokens_N = self.nll(model, fake), self.corpus.val_tokens
        if isinstance(self.mode, PerDocument) and self.mode.adaptation is not None:
            result = AdaptedScorer(nll, model, self.mode, self.batching)(tokens_N, self.bytes_N1)
        else:
            result = score(nll, tokens_N, self.bytes_N1, self.mode, self.batching)
        model.train()
        return result

    def documents(self, result: Score) -> DocumentScores | None:
        """A score by document; None if it is not finite. A text without document starts is one document."""
        tokens, start = self.corpus.val_tokens, self.corpus.document_start
        starts = document_starts(tokens, start) or [0]
        return document_scores(result, starts, self.bytes_N1, whole=bool(tokens[0] == start))

    def extra(self, model: GPT, fake: Fake | None = None) -> dict[str, float]:
        """Further fields of the record. `val_nats_<name>` and `val_bpb_<name>`: the mode's published estimate, if it
        has one. `adapter_bytes`: the memory for the adapters of one document, if it trains any.
        """
        if isinstance(self.mode, PerDocument) and self.mode.adaptation is not None:
            return {"adapter_bytes": self.mode.adaptation.state_bytes(model)}
        plan = getattr(self.mode, "estimate_windows", None)
        windows = plan(len(self.corpus.val_tokens) - 1) if plan else []
        if not windows:
            return {}
        nll = self.nll(model, fake)
        nats, bpb = estimate(nll, self.corpus.val_tokens, self.bytes_N1, windows, self.batching)
        name = getattr(self.mode, "estimate_name", "estimate")
        return {f"val_nats_{name}": nats, f"val_bpb_{name}": bpb}
