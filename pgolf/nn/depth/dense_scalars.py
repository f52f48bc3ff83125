"""Unconstrained weights over the outputs of earlier sublayers: the control for attention over depth."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pgolf.nn.depth_sources import SourceReader, sublayers
from pgolf.slots import Block, Dims


class DenseScalars(SourceReader):
    """h_l = sum_{i<l} a_{l,i} v_i for sublayers l = 1 .. L, two per block, with learned scalars a_{l,i} of any sign.

    v_0 is the embedding, v_i the output of sublayer i, and h_l the input of sublayer l. The final stream is h_{L+1}.
    All scalars start at one, which is the ordinary residual stream without mixing. h_1 has one source and no scalar,
    since a norm follows. DenseFormer (arXiv 2402.02622) weights streams after whole blocks; here the sources are
    outputs of sublayers, as in `attn_res`.
    """

    uses_resid_mix = False

    def __init__(self, dims: Dims):
        super().__init__()
        self.names = [f"a{layer}" for layer in range(2, 2 * dims.layers + 2)]
        for sources, name in enumerate(self.names, 2):
            self.register_parameter(name, nn.Parameter(torch.empty(sources)))

    def reset_parameters(self) -> None:
        for a_S in self.parameters():
            nn.init.ones_(a_S)

    def forward(self, x_BTD: Tensor, blocks: Sequence[Block]) -> Tensor:
        sources = [x_BTD]
        for reader, (sublayer, name) in enumerate(zip(sublayers(blocks), self.names, strict=True), 2):
            sources.append(sublayer(x_BTD))
            x_BTD = self.read(reader, getattr(self, name).unbind(), sources)
        return x_BTD
