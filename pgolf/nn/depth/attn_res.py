"""Attention Residuals (arXiv 2603.15031): each sublayer attends over the outputs of the sublayers before it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.depth_sources import SourceReader, inverse_rms, sublayer_name, sublayers
from pgolf.slots import Block, Dims


class AttnRes(SourceReader):
    """h_l = sum_{i<l} a_i v_i with a = softmax over i of w_l . RMSNorm(v_i), for sublayers l = 1 .. L, two per block.

    v_0 is the embedding, v_i the output of sublayer i, and h_l the input of sublayer l. The final stream is h_{L+1}.
    w_l [D] starts at zero, so that h_l starts as the mean of its sources. h_1 has one source and no w. There is no
    factor 1/sqrt(D). The paper gives RMSNorm a gain, which only rescales w_l and is left out.

    block_size: S, sublayers per block. With 1 every output is a source. With more the sources are the sums of the
    outputs of each finished block of S sublayers, the sum so far of the block that sublayer l-1 belongs to, and v_0.
    key_norm: without it the keys are the v_i themselves.
    """

    uses_resid_mix = False

    def __init__(self, dims: Dims, *, block_size: int, key_norm: bool):
        super().__init__()
        self.sublayers = 2 * dims.layers
        remedy = f"choose from 1, the full form, to the number of sublayers, 2 x model.layers = {self.sublayers}"
        require(1 <= block_size <= self.sublayers, "block_size", block_size, remedy)
        self.block_size, self.key_norm = block_size, key_norm
        self.names = [f"w{layer}" for layer in range(2, self.sublayers + 2)]
        for name in self.names:
            self.register_parameter(name, nn.Parameter(torch.empty(dims.width)))

    def reset_parameters(self) -> None:
        for w_D in self.parameters():
            nn.init.zeros_(w_D)

    def forward(self, x_BTD: Tensor, blocks: Sequence[Block]) -> Tensor:
        finished, scales = [x_BTD], [self.key_scale(x_BTD)]
        running: Tensor | None = None
        for i, (sublayer, name) in enumerate(zip(sublayers(blocks), self.names, strict=True), 1):
            output = sublayer(x_BTD)
            running = output if running is None else running + output
            sources, key_scales = [*finished, running], [*scales, self.key_scale(running)]
            w_D = getattr(self, name)
            logits = [v_BTD @ w_D.to(v_BTD.dtype) * scale for v_BTD, scale in zip(sources, key_scales, strict=True)]
            x_BTD = self.attend(i + 1, logits, sources)
            if i % self.block_size == 0:
                finished, scales, running = sources, key_scales, None
        return x_BTD

    def source_name(self, source: int) -> str:
        """`embedding`, one sublayer, or the first and the last of a block of sublayers."""
        first, last = 1 + (source - 1) * self.block_size, min(source * self.block_size, self.sublayers)
        if source > 0 and first < last:
            return f"{sublayer_name(first)} to {sublayer_name(last)}"
        return super().source_name(max(first, 0))

    def key_scale(self, v_BTD: Tensor) -> Tensor | float:
        """The factor that turns a source into its key, [B, T]; 1 without a norm."""
        return inverse_rms(v_BTD) if self.key_norm else 1.0
