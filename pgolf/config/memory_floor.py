"""The least memory that training can take: weights, gradients, optimizer states and averages, from shapes alone."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from pgolf.config.build import build_averaging, build_model, make
from pgolf.config.schema import Config, ModelConfig, OptimConfig
from pgolf.machine.ranks import Ranks
from pgolf.nn.naming import named_tensors
from pgolf.slots import Role

FP32 = 4  # bytes per number
MOST_BUILT = 32  # layers
UNCOUNTABLE = 2**63  # bytes, of a model whose sizes torch cannot hold


def state_per_weight(role: str, node: Mapping[str, Any], ndim: int) -> int:
    """Bytes that an optimizer keeps per weight: those it keeps of a small stand-in after one step."""
    p = nn.Parameter(torch.zeros([4] * ndim))
    optimizer = make(f"optim.roles.{role}", node, [p], Ranks())
    p.grad = torch.ones_like(p)
    optimizer.step()
    kept = (value for value in optimizer.state[p].values() if isinstance(value, Tensor) and value.shape == p.shape)
    return sum(value.nbytes for value in kept) // p.numel()


def averages_per_weight(optim: OptimConfig) -> int:
    """Bytes that the averaging of the weights keeps per weight."""
    averaging, p = build_averaging(optim), torch.zeros(4)
    averaging.start({"p": p})
    return sum(value.nbytes for value in tree_iter(averaging.state_dict()) if isinstance(value, Tensor)) // p.numel()


def optimizer_bytes(groups: Mapping[Role, list[str]], tensors: Mapping[str, Tensor], optim: OptimConfig) -> int:
    """States of all trained weights; one stand-in tells of all of a role that have as many dimensions."""
    weights: Counter[tuple[Role, int]] = Counter()
    for role, names in groups.items():
        for name in names:
            weights[role, 2 if tensors[name].ndim > 1 else 1] += tensors[name].numel()
    return sum(
        count * state_per_weight(role, getattr(optim.roles, role), ndim) for (role, ndim), count in weights.items()
    )


def memory_floor_bytes(config: Config) -> int:
    """The least that training takes per process, in bytes: parameters, gradients and optimizer states.

    0 where the model cannot be built. Counted on the meta device. A model of more than MOST_BUILT layers is counted
    from three small ones, without side inputs: it grows by the same number with each layer and each core. Where parts
    are frozen, gradients and states are left out. Raises nothing.
    """
    key = json.dumps([asdict(config.model), asdict(config.optim), asdict(config.defects)], sort_keys=True, default=str)
    if key not in _floors:  # the seeds of an arm ask the same
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
        return UNCOUNTABLE if "overflow" in str(error).lower() else 0
    except Exception:  # the checks build the same and report it
        return 0


def parameter_floor(model: ModelConfig) -> int:
    """The least number of parameters of a model. Raises what building it raises."""

    def count(section: ModelConfig) -> int:
        return sum(p.numel() for p in named_tensors(build_model(section)).values())

    if model.layers <= MOST_BUILT:
        return count(model)
    small = replace(model, side_inputs={}, xsa_last_n=0, layers=2, unique_blocks=1)
    first = count(small)
    per_core = count(replace(small, unique_blocks=2)) - first
    per_two_layers = count(replace(small, layers=4)) - first
    return first + (model.unique_blocks - 1) * per_core + (model.layers - 2) // 2 * per_two_layers
