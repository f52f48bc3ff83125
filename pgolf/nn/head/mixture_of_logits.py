"""The published look-alike of a mixture of softmaxes: logits are mixed (parameter-golf pull request 908, H3 to H5)."""

from torch import Tensor

from pgolf.nn.readout import LogitHead, LowRankExperts, mix_scores
from pgolf.slots import Dims, Embedding


class MixtureOfLogits(LogitHead):
    """logits = softcap(sum_e g_e(x) U_e D_e x): one softmax, input-dependent weights, logit rank at most experts *
    rank.
    """

    def __init__(self, dims: Dims, embedding: Embedding, *, rank: int, experts: int, zero_up: bool):
        super().__init__(dims)
        self.mixture = LowRankExperts(dims, rank=rank, experts=experts, zero_up=zero_up)

    def scores(self, x_BTD: Tensor) -> Tensor:
        return mix_scores(self.mixture.log_gate(x_BTD), self.mixture.scores(x_BTD))
