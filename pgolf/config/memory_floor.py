"""A lower bound on the memory of training, from shapes alone: weights, gradients and optimizer states."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from pgolf.config.build import build_averaging, build_model, make_optimizer
from pgolf.config.schema import Config, ModelConfig, OptimConfig
from pgolf.machine.ranks import Ranks
from pgolf.nn.naming import named_tensors
from pgolf.slots import Role

FP32 = 4  # bytes per number
MOST_BUILT = 32  # layers; a deeper model is extrapolated
UNCOUNTABLE = 2**63  # bytes, for a model whose sizes overflow in torch


def state_per_weight(role: str, node: Mapping[str, Any], ndim: int) -> int:
    """Bytes that an optimizer keeps per weight, measured on a small tensor after one step.

    ndim: the number of dimensions of that tensor. Raises ConfigError.
    """
    p = nn.Parameter(torch.zeros([4] * ndim))
    optimizer = make_optimizer(role, node, [p], Ranks())
    p.grad = torch.ones_like(p)
    optimizer.step()
    states = (value for value in optimizer.state[p].values() if isinstance(value, Tensor) and value.shape == p.shape)
    return sum(value.nbytes for value in states) // p.numel()


def averages_per_weight(optim: OptimConfig) -> int:
    """Bytes that the averaging keeps per weight."""
    averaging, p = build_averaging(optim), torch.zeros(4)
    averaging.start({"p": p})
    return sum(value.nbytes for value in tree_iter(averaging.state_dict()) if isinstance(value, Tensor)) // p.numel()


def optimizer_bytes(groups: Mapping[Role, list[str]], tensors: Mapping[str, Tensor], optim: OptimConfig) -> int:
    """Bytes of the optimizer states of all trainable weights. groups: their names by role.

    The bytes per weight are measured once per role and number of dimensions.
    """
    weights: Counter[tuple[Role, int]] = Counter()
    for role, names in groups.items():
        for name in names:
            weights[role, 2 if tensors[name].ndim > 1 else 1] += tensors[name].numel()
    return sum(
        count * state_per_weight(role, getattr(optim.roles, role), ndim) for (role, ndim), count in weights.items()
    )


def memory_floor_bytes(config: Config) -> int:
    """A lower bound on the memory of one training process, in bytes: parameters, gradients and optimizer states.

    Computed on the meta device. 0 if the model cannot be built. A model of more than MOST_BUILT layers is extrapolated
    from three small models without side inputs, since its size is linear in its layers and in its unique blocks. If
    parts are frozen, gradients and states are left out. Raises nothing.
    """
    key = json.dumps([asdict(config.model), asdict(config.optim), asdict(config.defects)], sort_keys=True, default=str)
    if key not in _floors:  # the seeds of an arm share the value
        _floors[key] = _floor_bytes(config)
    return _floors[key]


_floors: dict[str, int] = {}


def _floor_bytes(config: Config) -> int:
    try:
        count = parameter_floor(config.model)
        if config.optim.frozen or config.defects.frozen:
            return count * FP32
        states = [
            state_per_weight(role, node, 2 if role == "matrix" else 1)
            for role, node in asdict(config.optim.roles).items()
        ]
        return count * (2 * FP32 + min(states))
    except RuntimeError as error:
        # Torch has no exception type for sizes that overflow.
        return UNCOUNTABLE if "overflow" in str(error).lower() else 0
    except Exception:  # `checks` builds the same objects and reports the error
        return 0


def parameter_floor(model: ModelConfig) -> int:
    """A lower bound on the number of parameters of a model. Raises the exceptions of `build_model`."""

    def count(section: ModelConfig) -> int:
        return sum(p.numel() for p in named_tensors(build_model(section)).values())

    if model.layers <= MOST_BUILT:
        return count(model)
    small = replace(model, side_inputs={}, xsa_last_n=0, layers=2, unique_blocks=1)
    first = count(small)
    per_block = count(replace(small, unique_blocks=2)) - first
    per_two_layers = count(replace(small, layers=4)) - first
    return first + (model.unique_blocks - 1) * per_block + (model.layers - 2) // 2 * per_two_layers
