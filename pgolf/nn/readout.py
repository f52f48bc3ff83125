"""Shared by several heads: log-probabilities from softcapped logits, and experts of low rank."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.primitives import Linear, softcap, softcap_nll
from pgolf.slots import Dims


class LogitHead(nn.Module):
    """A head with one logits tensor. Subclasses define `scores(x)`, [B, T, V], before the softcap."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.cap = dims.logit_softcap

    def scores(self, x_BTD: Tensor) -> Tensor:
        raise NotImplementedError

    def logp(self, x_BTD: Tensor) -> Tensor:
        return F.log_softmax(softcap(self.scores(x_BTD), self.cap), dim=-1)

    def nll(self, x_BTD: Tensor, y_BT: Tensor) -> Tensor:
        return softcap_nll(self.scores(x_BTD), y_BT, self.cap)


class LowRankExperts(nn.Module):
    """E gated experts of rank R with scores U_e (D_e x); D_e [R, D], U_e [V, R], gate [E, D].

    rank: R, from 1 to the model width. experts: E. zero_up: start every U_e at zero; the D_e still differ, so the
    experts become different at the first step.
    """

    def __init__(self, dims: Dims, *, rank: int, experts: int, zero_up: bool):
        super().__init__()
        dims.check_rank(rank)
        require(experts >= 1, "experts", experts, "choose 1 or more")
        self.gate = Linear(dims.width, experts)
        self.down = nn.ModuleList(Linear(dims.width, rank) for _ in range(experts))
        self.up = nn.ModuleList(Linear(rank, dims.vocab_size, zero=zero_up) for _ in range(experts))

    def log_gate(self, x_BTD: Tensor) -> Tensor:
        """log softmax over experts, fp32 [B, T, E]."""
        return F.log_softmax(self.gate(x_BTD).float(), dim=-1)

    def scores(self, x_BTD: Tensor) -> list[Tensor]:
        """One tensor [B, T, V] per expert."""
        return [up(down(x_BTD)) for down, up in zip(self.down, self.up, strict=True)]


def mix_scores(log_gate_BTE: Tensor, scores: list[Tensor]) -> Tensor:
    """The gated sum of scores, sum_e g_e z_e, in fp32 [B, T, V]."""
    gates = log_gate_BTE.exp().unbind(-1)
    return torch.stack([g.unsqueeze(-1) * z.float() for g, z in zip(gates, scores, strict=True)]).sum(0)
