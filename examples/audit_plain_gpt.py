"""Audits a small GPT in plain PyTorch: `python examples/audit_plain_gpt.py`. It takes a few seconds on a CPU.

The model and its loop know nothing of pgolf. The audit is in `main`. The text is this file, byte by byte.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf import audit

VOCAB, WIDTH, HEADS, LAYERS, LENGTH = 256, 64, 4, 2, 64


class Block(nn.Module):
    """Causal self-attention and an MLP, each behind a norm and on a residual path."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """ids [B, T] -> log-probabilities [B, T, V]."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCAB, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.size(1), device=ids.device))
        return F.log_softmax(self.head(self.norm(self.blocks(x))), -1)


class Trainer:
    """A training loop: AdamW for matrices, SGD for all other weights, and a linear warm-up from zero."""

    def __init__(self, model: GPT, text: bytes):
        self.model, self.data, self.done = model, torch.tensor(list(text)), 0
        matrices = [p for p in model.parameters() if p.dim() == 2]
        others = [p for p in model.parameters() if p.dim() != 2]
        self.optimizers = [torch.optim.AdamW(matrices, lr=3e-3), torch.optim.SGD(others, lr=3e-2)]
        self.schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda n: min(1.0, n / 5)) for o in self.optimizers]

    def step(self) -> float:
        """One step on random windows of the text; returns the loss in nats per token."""
        starts = torch.randint(len(self.data) - LENGTH, (8,))
        windows = torch.stack([self.data[s : s + LENGTH + 1] for s in starts])
        logp = self.model(windows[:, :-1])
        loss = F.nll_loss(logp.flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        self.done += 1
        return loss.item()


def main() -> None:
    torch.set_num_threads(1)  # more gain nothing at this size
    torch.manual_seed(1)
    model = GPT()
    trainer = Trainer(model, Path(__file__).read_bytes())

    report = audit.training(model, trainer.optimizers, trainer.step, steps=5)
    losses = [trainer.step() for _ in range(25)]
    report += audit.model(model.eval(), vocab_size=VOCAB, model=model, lengths=(16, LENGTH))
    print(report)
    report.check()

    print(f"{trainer.done} steps, {losses[0]:.2f} to {losses[-1]:.2f} nats per byte")


if __name__ == "__main__":
    main()
