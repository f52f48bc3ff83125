"""Low-rank adapters for the maps of a model, with adapters of their own for every row of a batch (arXiv 2106.09685).

Shapes: B rows of a batch, one document each; T positions; R rank of the adapters.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgolf.errors import OptionError, require
from pgolf.nn.gpt import GPT
from pgolf.nn.primitives import seed_of
from pgolf.nn.readout import LogitHead

MAPS = ("q", "k", "v", "out", "mlp", "head")
Change = Callable[[Tensor], Tensor]  # the inputs [B, T, in] of a map -> what is added to its outputs [B, T, out]


@dataclass(frozen=True)
class Site:
    """A map of a model that can be adapted, from `inputs` to `outputs` dimensions. name: the config path of the map."""

    name: str
    module: nn.Module
    inputs: int
    outputs: int

    @contextmanager
    def changed(self, change: Change) -> Iterator[None]:
        """Add `change(x)` to the outputs of the map: to the scores before the softcap, if it is the head."""
        if isinstance(self.module, LogitHead):
            head, scores = self.module, self.module.scores
            head.scores = lambda x_BTD: added(scores(x_BTD), change(x_BTD))  # type: ignore[method-assign]
            try:
                yield
            finally:
                del head.scores
            return
        handle = self.module.register_forward_hook(lambda _, inputs, y: added(y, change(inputs[0])))
        try:
            yield
        finally:
            handle.remove()


def added(y: Tensor, change: Tensor) -> Tensor:
    return y + change.to(y.dtype)


def check_maps(maps: Sequence[str]) -> None:
    """Raise OptionError unless `maps` names maps of `MAPS`, each once."""
    remedy = f"name maps among {', '.join(MAPS)}, each once"
    named = isinstance(maps, Sequence) and not isinstance(maps, str) and len(maps) > 0
    require(named and all(name in MAPS for name in maps) and len(set(maps)) == len(maps), "maps", maps, remedy)


def adapted_sites(model: GPT, maps: Sequence[str]) -> list[Site]:
    """The adapted maps of a model: those of every block with weights of its own, and the head.

    A factored map has one adapter, for the product. Raises OptionError for a head without one tensor of logits.
    """
    dims, sites = model.dims, []
    queries, values = dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim
    for layer, attention in enumerate(model.attention):
        parts = {
            "q": Site(f"model.q_proj.{layer}", model.q_proj[layer], dims.width, queries),
            "k": Site(f"model.attention.{layer}.k", attention.k, dims.width, values),  # type: ignore[arg-type]
            "v": Site(f"model.attention.{layer}.v", attention.v, dims.width, values),  # type: ignore[arg-type]
            "out": Site(f"model.attention.{layer}.out", attention.out, dims.width, dims.width),  # type: ignore[arg-type]
            "mlp": Site(f"model.mlp.{layer}", model.mlp[layer], dims.width, dims.width),
        }
        sites += [parts[name] for name in maps if name != "head"]
    if "head" in maps:
        if not isinstance(model.head, LogitHead):
            others = ", ".join(name for name in maps if name != "head") or "q, v"
            raise OptionError(
                "maps",
                list(maps),
                f"the head of this model ({type(model.head).__name__}) has no single tensor of logits to adapt. Set "
                f"eval.maps=[{others}]",
            )
        sites.append(Site("model.head", model.head, dims.width, dims.vocab_size))
    return sites


class Adapters:
    """y <- y + B A x for each site, with A [rows, R, in] and B [rows, out, R] of its own for every row.

    B starts at zero, and A from U(-1/sqrt(in), 1/sqrt(in)), equal in all rows: it is drawn by (seed, name of the site).
    """

    def __init__(
        self, sites: Sequence[Site], rows: int, *, rank: int, seed: int, device: torch.device, dtype: torch.dtype
    ):
        self.sites, self.a, self.b = sites, dict[str, Tensor](), dict[str, Tensor]()
        for site in sites:
            generator = torch.Generator().manual_seed(seed_of(seed, site.name))
            a_RI = (2 * torch.rand(rank, site.inputs, generator=generator, dtype=torch.float64) - 1) * site.inputs**-0.5
            self.a[site.name] = a_RI.to(device, dtype).repeat(rows, 1, 1).requires_grad_()
            zeros = torch.zeros(rows, site.outputs, rank, device=device, dtype=dtype)
            self.b[site.name] = zeros.requires_grad_()

    def parameters(self) -> list[Tensor]:
        return [*self.a.values(), *self.b.values()]

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Inside, the model of the sites runs with the adapters. A batch of fewer rows uses the first ones."""

        def change(name: str) -> Change:
            a, b = self.a[name], self.b[name]
            return lambda x: x @ a[: x.size(0)].mT @ b[: x.size(0)].mT

        with ExitStack() as stack:
            for site in self.sites:
                stack.enter_context(site.changed(change(site.name)))
            yield
