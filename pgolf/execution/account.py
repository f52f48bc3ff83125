"""The cost of a configuration, computed without allocating its weights: parameters, FLOPs per token, packed bytes.

And the cost of each tensor of a packed file: codes exist only once a model has been trained.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from pgolf.config.build import build_model, frozen_by, make
from pgolf.config.compose import quantizer_choices
from pgolf.config.schema import Config, plain_config
from pgolf.execution.artifact import packed_state
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import chosen_roles
from pgolf.quant.container import packed_bytes, read_contents
from pgolf.quant.encoding import entropy_of, uncompressed_bytes

SHORT = 4  # tokens


@dataclass(frozen=True)
class Account:
    """The cost of a configuration.

    total, trained, frozen: numbers of parameters; `trained` counts the trainable parameters, under the name that the
    record has. by_slot: {config path: parameters}. by_role: {role: parameters}. flops_per_token: of training.
    payload_bytes: bytes before compression, by quantizer.
    """

    total: int
    trained: int
    frozen: int
    by_slot: dict[str, int]
    by_role: dict[str, int]
    flops_per_token: int
    payload_bytes: dict[str, int]

    def parameter_fields(self) -> dict[str, int]:
        """The fields `params.*` of a record."""
        slots = {f"params.{slot.removeprefix('model.')}": count for slot, count in self.by_slot.items()}
        return {"params.total": self.total, "params.trained": self.trained, "params.frozen": self.frozen, **slots}


@dataclass(frozen=True)
class PackedTensor:
    """The bytes of one tensor of a packed file.

    values: their number. stored_bytes: before compression. packed_bytes: compressed alone, as a stream of its own, by
    the codec of the file. entropy_bytes: what ideal order-0 coders need, their tables not counted.
    """

    name: str
    values: int
    bits: int
    stored_bytes: int
    packed_bytes: int
    entropy_bytes: int


def packed_tensors(path: Path) -> list[PackedTensor]:
    """The tensors of a packed file, as they are stored. Raises ArtifactError."""
    contents = read_contents(path)
    return [
        PackedTensor(
            name,
            math.prod(tensor.shape),
            tensor.bits,
            uncompressed_bytes({name: tensor}),
            packed_bytes({name: tensor}, contents.codec, contents.level),
            entropy_of(tensor),
        )
        for name, tensor in contents.tensors.items()
    ]


class ProductFlops(TorchDispatchMode):
    """Counts the FLOPs of matrix products and convolutions, by torch's own formulas.

    A product with weights is not computed, since they are all zero: its result is zeros of the right shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; to skip torch's compiler, torch would import it, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket is torch.ops.aten.mm:  # the only product of all variants
            left, right = args
            out = left.new_zeros((left.shape[0], right.shape[1]))
        elif func.namespace == "pgolf":  # a kernel, which may need a device that this machine lacks
            shapes = func(*(a.to("meta") if isinstance(a, Tensor) else a for a in args), **(kwargs or {}))
            out = tree_map(lambda t: torch.zeros(t.shape, dtype=t.dtype), shapes)
        else:
            out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


class AttentionFlops(TorchFunctionMode):
    """Counts the FLOPs of causal attention by a formula, and hides attention from other counters."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            q_BHTK = args[0]
            batch, heads, time, head_dim = q_BHTK.shape
            # q k^T and its product with v; the causal mask halves each.
            self.flops += 2 * batch * heads * time * time * head_dim
            return torch.empty_like(q_BHTK)
        return func(*args, **(kwargs or {}))


def forward_flops(model: GPT, time: int) -> int:
    """FLOPs of the forward pass over one sequence, counted on weights that are all zero and take no memory."""
    weights = {
        name: torch.zeros((), dtype=t.dtype).expand(t.shape)
        for name, t in (*model.named_parameters(), *model.named_buffers())
    }
    ids = torch.zeros(1, time, dtype=torch.long)
    attention, products = AttentionFlops(), ProductFlops()
    with torch.no_grad(), products, attention:
        functional_call(model, weights, (ids, ids))
    return attention.flops + products.flops


def flops_per_token(model: GPT) -> int:
    """Training FLOPs per token at the context of training: three times those of the forward pass.

    That is 6 per weight of a matrix product plus 6 heads head_dim T per layer for causal attention. A shared block
    counts once per application, and a tied table once per multiplication. The FLOPs of T tokens are a T + b T^2; two
    short sequences give a and b.
    """
    short, double = forward_flops(model, SHORT), forward_flops(model, 2 * SHORT)
    square = (double - 2 * short) // (2 * SHORT**2)
    linear = (short - square * SHORT**2) // SHORT
    return 3 * (linear + square * model.dims.seq_len)


def by_slot(model: GPT) -> dict[str, int]:
    """Numbers of parameters by the first level of their config path; a shared parameter counts once."""
    count: Counter[str] = Counter()
    for name, p in named_tensors(model).items():
        count[".".join(name.split(".")[:2])] += p.numel()
    return dict(sorted(count.items()))


def account(config: Config, *, every_quantizer: bool = False) -> Account:
    """The cost of a configuration. `payload_bytes` has `chosen` for the configured quantizer.

    every_quantizer: also every choice of conf/quant, each of which is composed. Raises ConfigError.
    """
    model = build_model(config.model)
    tensors = named_tensors(model)
    frozen = frozen_by(model, config)
    total = sum(p.numel() for p in tensors.values())
    frozen_count = sum(tensors[name].numel() for name in frozen)
    roles: Counter[str] = Counter()
    for name, role in chosen_roles(model, config.optim.role_of).items():
        roles[role] += tensors[name].numel()
    choices = list(quantizer_choices(plain_config(config))) if every_quantizer else []
    quantizers = {name: make("quant", node) for name, node in [*choices, ("chosen", config.quant)]}
    shapes = {name: tuple(t.shape) for name, t in packed_state(model).items()}
    payload = {name: sum(q.payload_bytes(n, shape) for n, shape in shapes.items()) for name, q in quantizers.items()}
    trainable, flops = total - frozen_count, flops_per_token(model)
    return Account(total, trainable, frozen_count, by_slot(model), dict(roles), flops, payload)
