"""How much memory training takes, from shapes alone: every tensor of one micro-batch is followed on fake tensors, nothing is computed."""

import json
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pgolf.build import build_averaging, build_model, frozen_by, make, trained_by_role
from pgolf.parallel import Ranks
from pgolf.roles import ROOT, named_tensors
from pgolf.slots import Role

FP32 = 4
MOST_BUILT = 32  # layers
MOST_FOLLOWED = 32  # layers; following the tensors of one takes a tenth of a second per precision
UNCOUNTABLE = 2**63  # bytes, of a model whose sizes torch cannot hold


@dataclass(frozen=True)
class Memory:
    """Bytes a process: parameters in fp32, gradients of the trained ones, optimizer states, averages of the weights, and the most that one
    micro-batch's forward and backward passes hold beside them.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int
    is_whole: bool = True  # False: of a model too deep to be followed, activations are left out

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.averages + self.activations


class Allocations(TorchDispatchMode):
    """Follows the storages that operations make: `now` bytes alive, `peak` the most so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor):
                self.follow(tensor.untyped_storage())
        return made

    def follow(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.now += size
        self.peak = max(self.peak, self.now)
        self.seen[key] = weakref.finalize(storage, self.release, key, size)

    def release(self, key: int, size: int) -> None:
        self.now -= size
        del self.seen[key]

    def ignore(self, tensor: Tensor) -> None:
        """Leave out a tensor that was there before."""
        storage = tensor.untyped_storage()
        self.seen[storage._cdata] = weakref.finalize(storage, lambda: None)


def activation_bytes(config: Mapping[str, Any], *, bf16: bool) -> int:
    """The most that the tensors of a micro-batch, forward and backward, take at once beside weights and gradients, not compiled."""
    train, model_config = config["train"], config["model"]
    rows = max(1, train["batch_tokens"] // train["micro_batches"] // model_config["seq_len"])
    mine = max(1, train["micro_batches"] // config["launch"]["nproc"])
    model = build_model(model_config)
    frozen = frozen_by(model, config) if not config["defects"]["keep_frozen_gradients"] else set()
    with FakeTensorMode():
        weights = {name: torch.empty(p.shape, requires_grad=f"{ROOT}.{name}" not in frozen) for name, p in model.named_parameters()}
        state = weights | {name: torch.empty(buffer.shape, dtype=buffer.dtype) for name, buffer in model.named_buffers()}
        ids = torch.zeros(rows, model_config["seq_len"], dtype=torch.long)
        followed = Allocations()
        for tensor in (*state.values(), ids):
            followed.ignore(tensor)
        with followed:
            for _ in range(min(2, mine)):  # in the second, the first one's gradients are there from the beginning
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = functional_call(model, state, (ids, ids)).mean()
                loss.backward()
                del loss
            gradients = sum(w.grad.untyped_storage().nbytes() for w in weights.values() if w.grad is not None)
        return max(0, followed.peak - gradients)


def estimates(config: Mapping[str, Any]) -> dict[str, Memory]:
    """{precision: memory}: of the one that is asked for, or of both where the machine is to choose."""
    chosen = ("fp32", "bf16") if config["train"]["precision"] == "auto" else (config["train"]["precision"],)
    return {name: memory(config, bf16=name == "bf16") for name in chosen}


def in_words(found: Mapping[str, Memory]) -> str:
    """`0.11 GB in fp32, 0.08 GB in bf16`, with `at least` where activations are left out."""
    return ", ".join(f"{'' if costs.is_whole else 'at least '}{costs.total / 1e9:.2f} GB in {name}" for name, costs in found.items())


def state_per_weight(role: str, node: Mapping[str, Any], ndim: int) -> int:
    """Bytes that an optimizer keeps per weight: those it keeps of a small stand-in after one step."""
    p = nn.Parameter(torch.zeros([4] * ndim))
    optimizer = make(f"optim.roles.{role}", node, [p], Ranks())
    p.grad = torch.ones_like(p)
    optimizer.step()
    kept = (value for value in optimizer.state[p].values() if isinstance(value, Tensor) and value.shape == p.shape)
    return sum(value.nbytes for value in kept) // p.numel()


def averages_per_weight(config: Mapping[str, Any]) -> int:
    """Bytes that the averaging of the weights keeps per weight."""
    averaging, p = build_averaging(config["optim"]), torch.zeros(4)
    averaging.start({"p": p})
    return sum(value.nbytes for value in tree_iter(averaging.state_dict()) if isinstance(value, Tensor)) // p.numel()


def optimizer_bytes(groups: Mapping[Role, list[str]], tensors: Mapping[str, Tensor], optim: Mapping[str, Any]) -> int:
    """States of all trained weights; one stand-in tells of all of a role that have as many dimensions."""
    weights: Counter[tuple[Role, int]] = Counter()
    for role, names in groups.items():
        for name in names:
            weights[role, 2 if tensors[name].ndim > 1 else 1] += tensors[name].numel()
    return sum(count * state_per_weight(role, optim["roles"][role], ndim) for (role, ndim), count in weights.items())


def memory_floor_bytes(config: Mapping[str, Any]) -> int:
    """What training takes at least per process: parameters, gradients and optimizer states, in bytes; 0 where the model cannot be built.

    Counted on the meta device. A model of more than MOST_BUILT layers is counted from three small ones, without side inputs: it grows by
    the same number with each layer and each core. Where parts are frozen, gradients and states are left out. Raises nothing.
    """
    key = {name: config[name] for name in ("model", "optim", "defects")}
    return _floor_bytes(json.dumps(key, sort_keys=True, default=str))


@lru_cache(maxsize=64)  # seeds of one arm ask the same
def _floor_bytes(key: str) -> int:
    config = json.loads(key)
    try:
        count = parameter_floor(config["model"])
        if config["optim"]["frozen"] or config["defects"]["frozen"]:
            return count * FP32
        states = [state_per_weight(role, node, 2 if role == "matrix" else 1) for role, node in config["optim"]["roles"].items()]
        return count * (2 * FP32 + min(states))
    except RuntimeError as error:
        return UNCOUNTABLE if "overflow" in str(error).lower() else 0
    except Exception:  # told by the checks that build the same
        return 0


def parameter_floor(model: Mapping[str, Any]) -> int:
    """Parameters of a model at least; raises what building it raises."""

    def count(section: Mapping[str, Any]) -> int:
        return sum(p.numel() for p in named_tensors(build_model(section)).values())

    layers, cores = model["layers"], model["unique_blocks"]
    if layers <= MOST_BUILT:
        return count(model)
    small = {**model, "side_inputs": {}, "xsa_last_n": 0}
    first = count({**small, "layers": 2, "unique_blocks": 1})
    per_core = count({**small, "layers": 2, "unique_blocks": 2}) - first
    per_two_layers = count({**small, "layers": 4, "unique_blocks": 1}) - first
    return first + (cores - 1) * per_core + (layers - 2) // 2 * per_two_layers


def memory(config: Mapping[str, Any], *, bf16: bool) -> Memory:
    """Estimated memory of one training process; bf16: of autocast to it. Raises ConfigError as the build does.

    Left out: activations of a model of more than MOST_FOLLOWED layers, the library's own (some 250 MB on a CPU, more with CUDA),
    fragmentation, the corpus, evaluation, an optimizer step's own tensors, and the copies that fake quantization and packing make
    of the weights.
    """
    model = build_model(config["model"])
    tensors, groups = named_tensors(model), trained_by_role(model, config)
    is_whole = config["model"]["layers"] <= MOST_FOLLOWED
    trained = sum(tensors[name].numel() for names in groups.values() for name in names)
    return Memory(
        weights=sum(p.numel() for p in tensors.values()) * FP32,
        gradients=trained * FP32,
        optimizer=optimizer_bytes(groups, tensors, config["optim"]),
        averages=trained * averages_per_weight(config),
        activations=activation_bytes(config, bf16=bf16) if is_whole else 0,
        is_whole=is_whole,
    )
