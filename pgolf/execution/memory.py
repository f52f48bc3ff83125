"""Estimates the memory of training from shapes alone.

The passes of a micro-batch are run on tensors without data, and every allocation is tracked. In fp32 these are on the
device meta, which is fast. Autocast does not know that device, so bf16 takes torch's fake tensors, which take more than
twice as long.
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pgolf.config.build import build_model, frozen_by, trainable_by_role
from pgolf.config.memory_floor import FP32, averages_per_weight, optimizer_bytes
from pgolf.config.schema import Config
from pgolf.nn.naming import ROOT, named_tensors

MOST_TRACKED = 32  # layers; tracking takes about 0.1 s per layer and precision


@dataclass(frozen=True)
class Memory:
    """Memory of one training process, in bytes.

    weights: all parameters, in fp32. gradients: of the trainable parameters. optimizer: its states. averages: of the
    weights. activations: the largest amount beside these during the passes of a micro-batch.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int
    is_complete: bool = True  # False: the model is too deep to track, and activations are left out

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.averages + self.activations


class Allocations(TorchDispatchMode):
    """Tracks the storages that operations allocate. now: bytes allocated; peak: the largest value of `now`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_iter(output):
            if isinstance(tensor, Tensor):
                self.track(tensor.untyped_storage())
        return output

    def track(self, storage: torch.UntypedStorage) -> None:
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
        """Do not count a tensor that existed before."""
        storage = tensor.untyped_storage()
        self.seen[storage._cdata] = weakref.finalize(storage, lambda: None)


class CpuAttention(TorchFunctionMode):
    """Attention as a CPU computes it: it keeps no scores and reads shared keys as they are. On the device meta torch
    would choose the plain form.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        kwargs.pop("enable_gqa", None)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args, **kwargs)[0]


@contextmanager
def tensors_without_data(*, bf16: bool) -> Iterator[None]:
    """New tensors have shapes and no data. Operations on them allocate what they would on a CPU."""
    if bf16:
        from torch._subclasses.fake_tensor import FakeTensorMode  # imports torch's compiler

        with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16):
            yield
    else:
        with torch.device("meta"), CpuAttention():
            yield


def activation_bytes(config: Config, *, bf16: bool) -> int:
    """Peak bytes of the tensors of a micro-batch, forward and backward, beside weights and gradients; not compiled."""
    train = config.train
    rows = max(1, train.batch_tokens // train.micro_batches // config.model.seq_len)
    per_rank = max(1, train.micro_batches // config.launch.nproc)
    model = build_model(config.model)
    frozen = frozen_by(model, config) if not config.defects.keep_frozen_gradients else set()
    with tensors_without_data(bf16=bf16):
        weights = {
            name: torch.empty(p.shape, requires_grad=f"{ROOT}.{name}" not in frozen)
            for name, p in model.named_parameters()
        }
        state = weights | {
            name: torch.empty(buffer.shape, dtype=buffer.dtype) for name, buffer in model.named_buffers()
        }
        ids = torch.zeros(rows, config.model.seq_len, dtype=torch.long)
        allocations = Allocations()
        if per_rank > 1:  # the passes after the first one start with its gradients
            for weight in weights.values():
                weight.grad = torch.empty(weight.shape) if weight.requires_grad else None
        before = [weight.grad for weight in weights.values() if weight.grad is not None]
        for tensor in (*state.values(), ids, *before):
            allocations.ignore(tensor)
        with allocations:
            loss = functional_call(model, state, (ids, ids)).mean()
            loss.backward()
            del loss
        own = [weight.grad for weight in weights.values() if weight.grad is not None] if per_rank == 1 else []
        return max(0, allocations.peak - sum(gradient.untyped_storage().nbytes() for gradient in own))


def estimates(config: Config) -> dict[str, Memory]:
    """{precision: memory} for the configured precision, or for both precisions if it is `auto`. Raises ConfigError."""
    precisions = ("fp32", "bf16") if config.train.precision == "auto" else (config.train.precision,)
    return {name: memory(config, bf16=name == "bf16") for name in precisions}


def memory_text(by_precision: Mapping[str, Memory]) -> str:
    """`0.11 GB in fp32, 0.08 GB in bf16`, with `at least` if activations are left out."""
    return ", ".join(
        f"{'' if costs.is_complete else 'at least '}{costs.total / 1e9:.2f} GB in {name}"
        for name, costs in by_precision.items()
    )


def memory(config: Config, *, bf16: bool) -> Memory:
    """Estimated memory of one training process. bf16: whether it uses autocast to bf16. Raises ConfigError.

    Not included: activations of a model of more than MOST_TRACKED layers, the memory of torch itself (about 250 MB on a
    CPU, more with CUDA), fragmentation, the corpus, evaluation, temporary tensors of an optimizer step, and the copies
    of the weights in fake quantization and packing.
    """
    model = build_model(config.model)
    tensors, groups = named_tensors(model), trainable_by_role(model, config)
    is_complete = config.model.layers <= MOST_TRACKED
    trainable = sum(tensors[name].numel() for names in groups.values() for name in names)
    return Memory(
        weights=sum(p.numel() for p in tensors.values()) * FP32,
        gradients=trainable * FP32,
        optimizer=optimizer_bytes(groups, tensors, config.optim),
        averages=trainable * averages_per_weight(config.optim),
        activations=activation_bytes(config, bf16=bf16) if is_complete else 0,
        is_complete=is_complete,
    )
