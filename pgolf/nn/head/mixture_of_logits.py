"""A gated sum of expert logits before one softmax (parameter-golf pull request 908, H3 to H5).

The pull request calls this head a mixture of softmaxes; the true mixture is in `mos`.
"""

from torch import Tensor

from pgolf.nn.readout import LogitHead, LowRankExperts, mix_scores
from pgolf.slots import Dims, Embedding


class MixtureOfLogits(LogitHead):
    """logits = softcap(sum_e g_e(x) U_e D_e x) with D_e [R, D] and U_e [V, R]; gates g = softmax(G x), G [E, D].

    rank: R, from 1 to the model width. experts: E. zero_up: start every U_e at zero.
    """

    def __init__(self, dims: Dims, embedding: Embedding, *, rank: int, experts: int, zero_up: bool):
        super().__init__(dims)
        self.mixture = LowRankExperts(dims, rank=rank, experts=experts, zero_up=zero_up)

    def scores(self, x_BTD: Tensor) -> Tensor:
        return mix_scores(self.mixture.log_gate(x_BTD), self.mixture.scores(x_BTD))
