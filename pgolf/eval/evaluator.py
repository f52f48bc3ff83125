"""Scoring models on one corpus in one mode, as training, packing and `evaluate` all do."""

from collections.abc import Callable

import torch
from torch import Tensor

from pgolf.data.loaded import LoadedCorpus
from pgolf.eval.score import Score, estimate, planned_windows, score
from pgolf.machine.precision import autocast
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT
from pgolf.quant.fake import Fake, FakeQuantized
from pgolf.slots import EvalMode

# A forward pass of the evaluation; one size, so that a score repeats to the last bit.
BATCH_TOKENS = {"cpu": 4096, "cuda": 131_072}


class Evaluation:
    """Scores models on one corpus in one mode."""

    def __init__(self, mode: EvalMode, corpus: LoadedCorpus, ranks: Ranks, device: torch.device, *, bf16: bool):
        self.mode, self.corpus, self.ranks, self.device, self.bf16 = mode, corpus, ranks, device, bf16
        self.batch_tokens = BATCH_TOKENS[self.device.type]
        planned_windows(self.mode, len(corpus.val_tokens) - 1)  # before training, not after
        self.bytes_N1 = corpus.byte_table.bytes_per_target(corpus.val_tokens)

    def nll(self, forward: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        def under_precision(ids: Tensor, targets: Tensor) -> Tensor:
            with autocast(self.device, self.bf16):
                return forward(ids, targets)

        return under_precision

    def __call__(self, model: GPT, fake: Fake | None = None) -> Score:
        """fake: score the model on fake-quantized weights (a defect of a published run)."""
        forward = model if fake is None else FakeQuantized(model, fake)
        model.eval()
        found = score(
            self.nll(forward),
            self.corpus.val_tokens,
            self.bytes_N1,
            self.mode,
            device=self.device,
            batch_tokens=self.batch_tokens,
            ranks=self.ranks,
        )
        model.train()
        return found

    def extra(self, model: GPT, fake: Fake | None = None) -> dict[str, float]:
        """Further scores of the mode, `val_nats_<name>` and `val_bpb_<name>`: its published estimate, if it has one."""
        plan = getattr(self.mode, "estimate_windows", None)
        windows = plan(len(self.corpus.val_tokens) - 1) if plan else []
        if not windows:
            return {}
        forward = model if fake is None else FakeQuantized(model, fake)
        nats, bpb = estimate(
            self.nll(forward),
            self.corpus.val_tokens,
            self.bytes_N1,
            windows,
            device=self.device,
            batch_tokens=self.batch_tokens,
            ranks=self.ranks,
        )
        name = getattr(self.mode, "estimate_name", "estimate")
        return {f"val_nats_{name}": nats, f"val_bpb_{name}": bpb}
