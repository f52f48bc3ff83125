"""A call in float64: each operation computes in double precision, whatever types the weights and the code have."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from pgolf.audit.weights import plain_modules

WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


def _wide(value: Any) -> Any:
    """A tensor of a narrow type, or the type itself, as float64. Everything else as it is."""
    if isinstance(value, Tensor):
        return value.to(WIDE[value.dtype]) if value.dtype in WIDE else value
    return WIDE.get(value, value) if isinstance(value, torch.dtype) else value


def _write(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation that writes into some of its arguments. The others take the type of a narrow one among those."""
    schema = func._schema.arguments
    named = {schema[n].name: value for n, value in enumerate(args)} | kwargs
    written = {each.name for each in schema if each.alias_info is not None and each.alias_info.is_write}
    targets = tree_leaves([named[name] for name in written & named.keys()])
    narrow = next((each.dtype for each in targets if isinstance(each, Tensor) and each.dtype in WIDE), None)

    def fitting(value: Any) -> Any:
        if narrow is None:
            return _wide(value)
        is_other = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
        return value.to(narrow) if is_other else value

    ready = {name: value if name in written else tree_map(fitting, value) for name, value in named.items()}
    return func(*(ready[schema[n].name] for n in range(len(args))), **{name: ready[name] for name in kwargs})


def _draw(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """Random numbers of a function without inputs, or that fill a tensor: those of the given arithmetic, widened.

    None for other functions. A tensor that is wide already was narrow where nothing is converted.
    """
    given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    if not given:
        return tree_map(_wide, func(*args, **kwargs))
    if len(given) > 1 or not func._schema.is_mutable or given[0] is not args[0] or given[0].dtype != torch.float64:
        return None
    narrow = torch.empty_like(given[0], dtype=torch.get_default_dtype())
    return given[0].copy_(func(narrow, *args[1:], **kwargs))


class InDouble(TorchDispatchMode):
    """Converts the inputs and the results of every operation to float64, and explicit casts too.

    Views stay views of what they are, so that writing into them reaches the tensor behind them. What is written into an
    older tensor takes the type of that tensor. The weights are not changed.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch would else load its compiler for the first call, which takes two seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags and (drawn := _draw(func, args, kwargs)) is not None:
            return drawn
        if func._schema.is_mutable:
            return _write(func, args, kwargs)
        return tree_map(_wide, func(*tree_map(_wide, args), **tree_map(_wide, kwargs)))


@contextmanager
def in_double(module: nn.Module | None) -> Iterator[None]:
    """Operations compute in float64. Attributes and buffers that the call sets in the module are set back."""
    modules = plain_modules(module)
    attributes = [(dict(vars(each)), dict(each._buffers)) for each in modules]
    torch.clear_autocast_cache()
    try:
        with InDouble():
            yield
    finally:
        torch.clear_autocast_cache()
        for each, (values, buffers) in zip(modules, attributes, strict=True):
            vars(each).clear()
            vars(each).update(values)
            each._buffers.clear()
            each._buffers.update(buffers)
