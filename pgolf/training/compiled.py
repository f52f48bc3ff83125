"""Compiled models: one graph, without breaks, and each shape compiled by one process at a time."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from pgolf.errors import PgolfError
from pgolf.machine.locks import locked


def compiled(model: nn.Module, backend: str = "inductor") -> nn.Module:
    """The model, compiled as one graph for fixed shapes.

    A break of the graph would send every tensor at that place through memory and give the work in between back to
    Python, without a word. So it is an error, which `whole_graph` words.
    """
    module: nn.Module = torch.compile(model, dynamic=False, fullgraph=True, backend=backend)  # type: ignore[assignment]
    return module


@contextmanager
def whole_graph() -> Iterator[None]:
    """Raise PgolfError for a model inside that cannot be compiled as one graph."""
    try:
        yield
    except Exception as error:
        if type(error).__module__ != "torch._dynamo.exc":
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PgolfError(
            f"train.compile: the model is not one graph for torch's compiler ({reason[:200]}). Train with "
            "train.compile=off, or change the part that error.txt names"
        ) from error


@contextmanager
def one_compiles(shape: str, cache: Path) -> Iterator[None]:
    """Let one process at a time compile a shape of model and batch, named by a text. cache: a folder for the lock.

    Compiled code is in torch's own cache, which all runs of this user share. So the first run of a sweep compiles, and
    those that wait for it load the result. Raises OSError, PgolfError.
    """
    folder = cache / "compiling"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{hashlib.sha256(shape.encode()).hexdigest()[:16]}.lock"):
        yield
