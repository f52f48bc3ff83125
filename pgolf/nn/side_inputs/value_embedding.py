"""Token embeddings added to the attention values of some layers (parameter-golf pull request 908)."""

import torch
from torch import Tensor, nn

from pgolf.errors import require
from pgolf.nn.primitives import Linear, Table
from pgolf.slots import Dims, Role, Site


class ValueEmbedding(nn.Module):
    """v_t <- v_t + c_l s P E[id_t] in every layer l of `layers`; E [V, R] from N(0, init_std^2), P [G*K, R].

    s is a learned scalar that starts at scale_init; c has one learned scalar per layer, starting at one. rank: R, from
    1 to the model width. layers: positions in depth; negative ones count from the end.
    """

    site: Site = "value"

    def __init__(self, dims: Dims, *, rank: int, layers: list[int], init_std: float, scale_init: float):
        super().__init__()
        dims.check_rank(rank)
        require(len(layers) > 0, "layers", layers, "name at least one layer")
        for layer in layers:
            require(
                -dims.layers <= layer < dims.layers, "layers", layer, f"choose from {-dims.layers} to {dims.layers - 1}"
            )
        self.layers = tuple(sorted({layer % dims.layers for layer in layers}))
        self.scale_init = scale_init
        self.table = Table(dims.vocab_size, rank, std=init_std)
        self.projection = Linear(rank, dims.kv_heads * dims.head_dim, closes_branch=True)
        self.scale = nn.Parameter(torch.empty(()))
        self.layer_scales = nn.Parameter(torch.empty(len(self.layers)))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.scale, self.scale_init)
        nn.init.ones_(self.layer_scales)

    def roles(self) -> dict[str, Role]:
        return {"table.weight": "embedding", "projection.weight": "matrix", "scale": "scalar", "layer_scales": "scalar"}

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.scale * self.projection(self.table(ids_BT))

    def gain(self, layer: int) -> Tensor:
        return self.layer_scales[self.layers.index(layer)]
