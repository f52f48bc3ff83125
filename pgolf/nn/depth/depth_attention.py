"""The embedding plus attention over the outputs of earlier blocks (parameter-golf pull request 215)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.depth_sources import SourceReader, inverse_rms
from pgolf.slots import Block, Dims


class DepthAttention(SourceReader):
    """h_l = e + sum_{i<l} a_i d_i with a = softmax over i of w_l . RMSNorm(d_i) + sum_{k=1..K} c_{l,k} P_k(t_i).

    e is the embedding. d_i, i = 0 .. L-1, is the output of block i: attention plus MLP, without the block's input. h_l
    is the input of block l, and h_L the final stream. P_k are Legendre polynomials, and t_i = 2 i / (L - 1) - 1. w_l
    [D] and c_l [K] start at zero, so that h_l starts as e plus the mean of the d_i. h_0 = e and h_1 = e + d_0 have no
    weights.

    order: K, cut to L - 1, since L points do not tell more polynomials apart. P_0 is left out, since a softmax ignores
    a constant. The pull request tried this idea and dropped it. It describes it in one sentence without code: the form
    of the content term and of the bias is our reading.
    """

    uses_resid_mix = False
    kept = "the embedding, which is added to every input"

    def __init__(self, dims: Dims, *, order: int):
        super().__init__()
        require(order >= 1, "order", order, "choose 1 or more")
        self.layers, self.order = dims.layers, min(order, dims.layers - 1)
        t_L = np.linspace(-1, 1, dims.layers)
        self.polynomials: list[list[float]] = legvander(t_L, self.order)[:, 1:].tolist()  # P_k(t_i), [L, K]
        for layer in range(2, dims.layers + 1):
            self.register_parameter(f"w{layer}", nn.Parameter(torch.empty(dims.width)))
            self.register_parameter(f"c{layer}", nn.Parameter(torch.empty(self.order)))

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x_BTD: Tensor, blocks: Sequence[Block]) -> Tensor:
        embedding_BTD = x_BTD
        outputs: list[Tensor] = []
        scales: list[Tensor] = []
        for layer, block in enumerate(blocks, 1):
            attended = block.attention(x_BTD)
            outputs.append(attended + block.mlp(x_BTD + attended))
            scales.append(inverse_rms(outputs[-1]))
            x_BTD = embedding_BTD + self.attended(layer, outputs, scales)
        return x_BTD

    def source_name(self, source: int) -> str:
        return f"block {source}"

    def attended(self, layer: int, outputs_BTD: Sequence[Tensor], scales_BT: Sequence[Tensor]) -> Tensor:
        """What h_layer gets from the blocks before it, [B, T, D]: of one block its output, with the weight one."""
        if len(outputs_BTD) == 1:
            return self.read(layer, [outputs_BTD[0].new_ones(())], outputs_BTD)
        w_D, bias_S = getattr(self, f"w{layer}"), self.bias(layer, len(outputs_BTD))
        logits = [
            d_BTD @ w_D.to(d_BTD.dtype) * scale + bias
            for d_BTD, scale, bias in zip(outputs_BTD, scales_BT, bias_S, strict=True)
        ]
        return self.attend(layer, logits, outputs_BTD)

    def bias(self, layer: int, sources: int) -> Tensor:
        """sum_k c_k P_k(t_i) of the first blocks i, [sources]."""
        c_K: Tensor = getattr(self, f"c{layer}")
        return (c_K.new_tensor(self.polynomials[:sources]) * c_K).sum(-1)
