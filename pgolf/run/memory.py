"""How much memory training takes, from shapes alone: every tensor of one micro-batch is followed on fake tensors,
nothing is computed.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pgolf.config.build import build_model, frozen_by, trained_by_role
from pgolf.config.memory_floor import FP32, averages_per_weight, optimizer_bytes
from pgolf.config.schema import Config
from pgolf.nn.naming import ROOT, named_tensors

MOST_FOLLOWED = 32  # layers; following the tensors of one takes a tenth of a second per precision


@dataclass(frozen=True)
class Memory:
    """Bytes a process: parameters in fp32, gradients of the trained ones, optimizer states, averages of the weights,
    and the most that one micro-batch's forward and backward passes hold beside them.
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


def activation_bytes(config: Config, *, bf16: bool) -> int:
    """The most that the tensors of a micro-batch, forward and backward, take at once beside weights and gradients, not
    compiled.
    """
    train = config.train
    rows = max(1, train.batch_tokens // train.micro_batches // config.model.seq_len)
    mine = max(1, train.micro_batches // config.launch.nproc)
    model = build_model(config.model)
    frozen = frozen_by(model, config) if not config.defects.keep_frozen_gradients else set()
    with FakeTensorMode():
        weights = {
            name: torch.empty(p.shape, requires_grad=f"{ROOT}.{name}" not in frozen)
            for name, p in model.named_parameters()
        }
        state = weights | {
            name: torch.empty(buffer.shape, dtype=buffer.dtype) for name, buffer in model.named_buffers()
        }
        ids = torch.zeros(rows, config.model.seq_len, dtype=torch.long)
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


def estimates(config: Config) -> dict[str, Memory]:
    """{precision: memory}: of the one that is asked for, or of both where the machine is to choose."""
    chosen = ("fp32", "bf16") if config.train.precision == "auto" else (config.train.precision,)
    return {name: memory(config, bf16=name == "bf16") for name in chosen}


def in_words(found: Mapping[str, Memory]) -> str:
    """`0.11 GB in fp32, 0.08 GB in bf16`, with `at least` where activations are left out."""
    return ", ".join(
        f"{'' if costs.is_whole else 'at least '}{costs.total / 1e9:.2f} GB in {name}" for name, costs in found.items()
    )


def memory(config: Config, *, bf16: bool) -> Memory:
    """Estimated memory of one training process; bf16: of autocast to it. Raises ConfigError as the build does.

    Left out: activations of a model of more than MOST_FOLLOWED layers, the library's own (some 250 MB on a CPU, more
    with CUDA), fragmentation, the corpus, evaluation, an optimizer step's own tensors, and the copies that fake
    quantization and packing make of the weights.
    """
    model = build_model(config.model)
    tensors, groups = named_tensors(model), trained_by_role(model, config)
    is_whole = config.model.layers <= MOST_FOLLOWED
    trained = sum(tensors[name].numel() for names in groups.values() for name in names)
    return Memory(
        weights=sum(p.numel() for p in tensors.values()) * FP32,
        gradients=trained * FP32,
        optimizer=optimizer_bytes(groups, tensors, config.optim),
        averages=trained * averages_per_weight(config.optim),
        activations=activation_bytes(config, bf16=bf16) if is_whole else 0,
        is_whole=is_whole,
    )
