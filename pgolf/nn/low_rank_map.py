"""A linear map of two factors, which several query projections share."""

from torch import Tensor, nn

from pgolf.nn.primitives import Linear, rms_norm


class LowRankMap(nn.Module):
    """y = U n(D x) for x [.., in], y [.., out] with D [rank, in] and U [out, rank].

    norm: n is the RMS norm over the rank, as in DeepSeek-V2 (arXiv 2405.04434); otherwise n changes nothing.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, *, norm: bool):
        super().__init__()
        self.down = Linear(in_features, rank)
        self.up = Linear(rank, out_features)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        return self.up(rms_norm(low) if self.norm else low)
