"""A true mixture of softmaxes (arXiv 1711.03953)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgolf.nn.primitives import softcap
from pgolf.nn.readout import LowRankExperts
from pgolf.slots import Dims, Embedding


class MixtureOfSoftmaxes(nn.Module):
    """p(y | x) = sum_e g_e(x) softmax(softcap(U_e D_e x))_y with D_e [R, D] and U_e [V, R]; g = softmax(G x), G [E, D].

    Probabilities are mixed, so the rank bound of a single softmax does not apply. Deviation from the paper: an expert
    is a linear map U_e D_e of rank R, not a tanh layer before one shared table. The parameters are those of
    `mixture_of_logits`: the two heads differ only in what they mix.

    rank: R, from 1 to the model width. experts: E. zero_up: start every U_e at zero.
    """

    def __init__(self, dims: Dims, embedding: Embedding, *, rank: int, experts: int, zero_up: bool):
        super().__init__()
        self.cap = dims.logit_softcap
        self.mixture = LowRankExperts(dims, rank=rank, experts=experts, zero_up=zero_up)

    def logp(self, x_BTD: Tensor) -> Tensor:
        each = torch.stack([F.log_softmax(softcap(z, self.cap), dim=-1) for z in self.mixture.scores(x_BTD)], dim=-1)
        return torch.logsumexp(each + self.mixture.log_gate(x_BTD).unsqueeze(-2), dim=-1)

    def nll(self, x_BTD: Tensor, y_BT: Tensor) -> Tensor:
        target = y_BT.unsqueeze(-1)
        each = []
        for scores in self.mixture.scores(x_BTD):
            logits = softcap(scores, self.cap)
            each.append(logits.gather(-1, target).squeeze(-1) - torch.logsumexp(logits, dim=-1))
        return -torch.logsumexp(torch.stack(each, dim=-1) + self.mixture.log_gate(x_BTD), dim=-1)
