"""What a configuration costs, from modules on the meta device: parameters, FLOPs per token, packed bytes before
compression.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from pgolf.config.build import build_model, frozen_by, make
from pgolf.config.compose import quantizer_choices
from pgolf.config.schema import Config, plain_config
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.optim.roles import chosen_roles
from pgolf.run.artifact import packed_state


@dataclass(frozen=True)
class Account:
    total: int
    trained: int
    frozen: int
    by_slot: dict[str, int]
    by_role: dict[str, int]
    flops_per_token: int
    payload_bytes: dict[str, int]


class WithoutAttention(TorchFunctionMode):
    """Counts scaled dot-product attention by formula and leaves it out of the matmul count."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            q_BHTK = args[0]
            batch, heads, time, head_dim = q_BHTK.shape
            # Q k^T and its product with v, half of each being masked.
            self.flops += 2 * batch * heads * time * time * head_dim
            return torch.empty_like(q_BHTK)
        return func(*args, **(kwargs or {}))


def flops_per_token(model: GPT) -> int:
    """Training FLOPs per token at the trained context: three times the forward's, that is 6 a matmul weight used (a
    shared core once per pass, a tied table where it is multiplied) plus causal attention, 6 heads head_dim T a layer.
    """
    time = model.dims.seq_len
    ids = torch.zeros(1, time, dtype=torch.long, device="meta")
    attention, counter = WithoutAttention(), FlopCounterMode(display=False)
    with torch.no_grad(), counter, attention:
        model(ids, ids)
    return 3 * (counter.get_total_flops() + attention.flops) // time


def by_slot(model: GPT) -> dict[str, int]:
    """Parameters under each config path of the model's first level, each once."""
    count: Counter[str] = Counter()
    for name, p in named_tensors(model).items():
        count[".".join(name.split(".")[:2])] += p.numel()
    return dict(sorted(count.items()))


def account(config: Config) -> Account:
    """The account of one resolved configuration; `payload_bytes` has every quantizer of conf/quant and `chosen`, this
    configuration's.
    """
    model = build_model(config.model)
    tensors = named_tensors(model)
    frozen = frozen_by(model, config)
    total = sum(p.numel() for p in tensors.values())
    held = sum(tensors[name].numel() for name in frozen)
    roles: Counter[str] = Counter()
    for name, role in chosen_roles(model, config.optim.role_of).items():
        roles[role] += tensors[name].numel()
    made = {
        name: make("quant", node) for name, node in [*quantizer_choices(plain_config(config)), ("chosen", config.quant)]
    }
    shapes = {name: tuple(t.shape) for name, t in packed_state(model).items()}
    payload = {name: sum(q.payload_bytes(n, shape) for n, shape in shapes.items()) for name, q in made.items()}
    return Account(total, total - held, held, by_slot(model), dict(roles), flops_per_token(model), payload)
