"""A linear map of two factors, which several query projections share."""

import torch
from torch import Tensor, nn

from pgolf.nn.primitives import Linear, rms_norm


class LowRankMap(nn.Module):
    """y = U n(D x) for x [.., in], y [.., out] with D [rank, in] and U [out, rank].

    norm: n is the RMS norm over the rank times a learned gain [rank], which starts at one, as in DeepSeek-V2 (arXiv
    2405.04434); otherwise n changes nothing. Where y is normalised per head, as queries are, the norm cancels and the
    gain could be part of U: the functions stay the same ones up to rounding, and training moves on another path.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, *, norm: bool):
        super().__init__()
        self.down = Linear(in_features, rank)
        self.up = Linear(rank, out_features)
        self.gain = nn.Parameter(torch.empty(rank)) if norm else None

    def reset_parameters(self) -> None:
        if self.gain is not None:
            nn.init.ones_(self.gain)

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        return self.up(low if self.gain is None else rms_norm(low) * self.gain.to(low.dtype))
