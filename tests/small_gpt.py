"""A small GPT in plain PyTorch, with places where the tests plant defects."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, WIDTH, HEADS, LAYERS, START = 48, 32, 4, 2, 1
STD = 0.02  # of every initial weight: the smallest scale


class SmallGPT(nn.Module):
    """ids[B, T] -> log-probabilities [B, T, V]. documents: attention stays within documents that begin with START."""

    def __init__(self, *, documents: bool = False, zero_outputs: bool = False):
        super().__init__()
        self.documents = documents
        self.table = nn.Embedding(VOCAB, WIDTH)
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.out = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)
        self.add_parts()
        generator = torch.Generator().manual_seed(7)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=STD, generator=generator)
        for out in self.out if zero_outputs else ():
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)

    def add_parts(self) -> None:
        """More modules of a variant."""

    def embed(self, ids_BT: Tensor) -> Tensor:
        return self.table(ids_BT)

    def mask(self, ids_BT: Tensor, layer: int) -> Tensor:
        """True where a position may be read, [B, 1, T, T]."""
        length = ids_BT.size(1)
        seen = torch.ones(length, length, dtype=torch.bool).tril().expand(ids_BT.size(0), 1, length, length)
        if self.documents:
            document = (ids_BT == START).cumsum(1)
            seen = seen & (document[:, None, :, None] == document[:, None, None, :])
        return seen

    def attend(self, x_BTD: Tensor, mask: Tensor, layer: int) -> Tensor:
        batch, length, width = x_BTD.shape
        qkv = self.qkv[layer](F.rms_norm(x_BTD, (width,))).view(batch, length, 3, HEADS, width // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out[layer](mixed.transpose(1, 2).reshape(batch, length, width))

    def hidden(self, ids_BT: Tensor) -> Tensor:
        x = self.embed(ids_BT)
        for layer in range(LAYERS):
            x = x + self.attend(x, self.mask(ids_BT, layer), layer)
            x = x + self.down(F.gelu(self.up(F.rms_norm(x, (WIDTH,)))))
        return F.rms_norm(x, (WIDTH,))

    def forward(self, ids_BT: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.hidden(ids_BT)), -1)


def earlier(x: Tensor) -> Tensor:
    """Each position gets the value of the one before; the first gets zero."""
    return F.pad(x[:, :-1], [0, 0] * (x.dim() - 2) + [1, 0])


def later(x: Tensor) -> Tensor:
    """Each position gets the value of the one after; the last gets zero."""
    return F.pad(x[:, 1:], [0, 0] * (x.dim() - 2) + [0, 1])
