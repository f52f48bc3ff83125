"""Which matrices a model has: Q, K, V, O, MLP, embedding, head and side inputs. A shared block appears once.

Two weights are one matrix where the model applies them one after another. That is decided by names (`up` after `down`,
`projection` after `table`) and, where the module has a map, checked by executing it: a norm or a nonlinearity between
the two makes them two matrices.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.inspect.factored import Factors, are_finite, check_finite
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import ROOT, named_tensors

GROUPS = ("Q", "K", "V", "O", "MLP", "embedding", "head", "side input")
OF_ATTENTION = {"k": "K", "v": "V", "out": "O"}
OF_SLOT = {"q_proj": "Q", "mlp": "MLP", "embedding": "embedding", "head": "head", "side_inputs": "side input"}
PER_BLOCK = ("q_proj", "attention", "mlp")
PROBES = 8  # random inputs of a check
TOLERANCE = 1e-2  # relative, of a check in float32, which some GPUs compute with ten bits


@dataclass(frozen=True)
class Matrix:
    """A linear map of a model.

    name: its config path; of a product, that of the module with both factors. part: its name within the group and
    layer, such as `fc`. layers: the passes that use it; empty outside the blocks. head: of a slice of Q or K.
    """

    name: str
    group: str
    part: str
    layers: tuple[int, ...]
    factors: Factors
    head: int | None = None

    @property
    def label(self) -> str:
        """The layers and the part, for a table."""
        words = [layers_text(self.layers), self.part, "" if self.head is None else f"head {self.head}"]
        return " ".join(word for word in words if word) or self.name.rpartition(".")[2]


def layers_text(layers: tuple[int, ...]) -> str:
    """`layer 3`, or `layers 0-8` and `layers 0,3,6` of a shared block."""
    if len(layers) < 2:
        return f"layer {layers[0]}" if layers else ""
    if layers == tuple(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]}-{layers[-1]}"
    return f"layers {','.join(map(str, layers))}"


def matrices(model: GPT) -> list[Matrix]:
    """Every matrix of the slots, in the order of the groups, then of the layers."""
    weights = {name: p.detach() for name, p in named_tensors(model).items() if p.ndim == 2}
    found, used = [], set()
    for name in weights:
        if name in used or (group := group_of(name)) is None:
            continue
        pair = pair_of(name, weights)
        if pair is not None and is_product(model, *pair):
            whole, left, right = pair
            used |= {left, right}
            factors = Factors(oriented(left, weights[left], weights[right]))
            part = part_of(whole)
        else:
            used.add(name)
            whole, factors, part = name, Factors((weights[name],)), part_of(name.removesuffix(".weight"))
        found.append(
            Matrix(whole, group, part if group not in ("K", "V", "O") else "", layers_of(model, name), factors)
        )
    return sorted(found, key=lambda matrix: (GROUPS.index(matrix.group), matrix.layers))


def group_of(name: str) -> str | None:
    """The group of a weight; None for what is not a linear map, such as the gains of the blocks."""
    words = name.split(".")[1:]
    return OF_ATTENTION.get(words[2]) if words[0] == "attention" else OF_SLOT.get(words[0])


def part_of(path: str) -> str:
    """The name of a matrix within its slot and block; empty for the one matrix of a query projection or embedding."""
    words = path.split(".")[1:]
    slot, rest = words[0], words[2:] if words[0] in PER_BLOCK else words[1:]
    return "" if (slot, rest) in (("q_proj", ["proj"]), ("embedding", ["table"])) else ".".join(rest)


def layers_of(model: GPT, name: str) -> tuple[int, ...]:
    """The passes that use a weight of a block; empty for a weight outside the blocks."""
    words = name.split(".")[1:]
    if words[0] not in PER_BLOCK:
        return ()
    return tuple(range(int(words[1]), model.dims.layers, model.trunk.unique_blocks))


def pair_of(name: str, weights: Mapping[str, Tensor]) -> tuple[str, str, str] | None:
    """(path, left factor, right factor) of the product that a weight may belong to; None if it stands alone."""
    slot = name.split(".")[1]
    if slot not in ("q_proj", "embedding", "head", "side_inputs"):
        return None
    words = name.split(".")
    for left, right in (("up", "down"), ("table", "projection")):
        for at in (-2, -3):
            if len(words) < -at or words[at] not in (left, right):
                continue
            names = [".".join([*words[:at], word, *words[at + 1 :]]) for word in (left, right)]
            if all(each in weights for each in names) and fits(weights[names[0]], weights[names[1]], left):
                whole = ".".join([*words[:at], *words[at + 1 : -1]])
                return whole, names[0], names[1]
    return None


def fits(left: Tensor, right: Tensor, kind: str) -> bool:
    """Whether inner sizes agree: of up [M, R] and down [R, N], or of table [M, R] and projection [N, R]."""
    return left.size(1) == (right.size(0) if kind == "up" else right.size(1))


def oriented(left_name: str, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both factors so that their product is the matrix: of an embedding it is the effective table."""
    return (left, right) if "up" in left_name.split(".") else (left, right.T)


def is_product(model: GPT, whole: str, left: str, right: str) -> bool:
    """Whether the module that owns two weights applies their product, as far as it can be executed.

    A module whose map takes ids, that has no map of its own, or that overflows, is taken by its names.
    """
    if ".side_inputs." in left or "projection" in right.split("."):
        return True
    weights = named_tensors(model)
    index = whole.rpartition(".")[2]
    is_listed = f"{index}.weight" in left and index.isdecimal()  # one of several experts
    owner = model.get_submodule((whole.rpartition(".")[0] if is_listed else whole).removeprefix(f"{ROOT}."))
    apply: Callable[[Tensor], Any] = getattr(owner, "scores", owner)
    x = probes(weights[right].size(1), weights[right])
    with torch.no_grad():
        result = apply(x)
        result = (result[int(index)] if is_listed else result).double()
        expected = x.double() @ weights[right].double().T @ weights[left].double().T
    return not are_finite([result]) or bool((result - expected).norm() <= TOLERANCE * expected.norm())


def probes(width: int, like: Tensor) -> Tensor:
    """Random inputs [PROBES, width] with the type and device of a tensor."""
    return torch.randn(PROBES, width, generator=torch.Generator().manual_seed(0)).to(like)


def heads_of(matrix: Matrix, head_dim: int) -> Iterator[Matrix]:
    """The rows of each head of a Q or K matrix [H*K, D]."""
    for head in range(matrix.factors.sizes[0] // head_dim):
        rows = matrix.factors.rows(head * head_dim, (head + 1) * head_dim)
        yield Matrix(matrix.name, matrix.group, matrix.part, matrix.layers, rows, head)


def map_of(module: nn.Module, width: int, like: Tensor, name: str) -> Tensor | None:
    """The matrix [out, width] of a module that is a linear map, in its own precision; None if it is not linear.

    Raises PgolfError, with the name, for outputs that are not finite.
    """
    probe = probes(width, like)
    with torch.no_grad():
        matrix: Tensor = module(torch.eye(width, dtype=like.dtype, device=like.device)).T
        result = module(probe)
        check_finite([matrix, result], name, "its outputs")
        linear = probe.double() @ matrix.double().T
        is_linear = bool((result.double() - linear).norm() <= TOLERANCE * linear.norm())
    return matrix if is_linear else None
