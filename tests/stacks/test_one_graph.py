"""Every published stack is one graph for torch's compiler, with an attention that Flash attention can compute."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from pgolf.errors import PgolfError
from pgolf.training.compiled import compiled, whole_graph
from tiny import STACKS, random_ids, stack_config, tiny_model


class SeenAttention(TorchFunctionMode):
    """Notes the masks of every call of torch's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[tuple[Any, bool]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            self.masks.append((kwargs.get("attn_mask"), kwargs.get("is_causal", False)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_compiles_without_a_break(stack: str) -> None:
    model = tiny_model(stack_config(stack))
    ids, targets = random_ids(2, 16), random_ids(2, 16, seed=1)
    with SeenAttention() as attention:
        eager = model(ids, targets)
    assert attention.masks == [(None, True)] * model.dims.layers, "a mask as a tensor would rule Flash attention out"
    torch._dynamo.reset()
    torch.testing.assert_close(compiled(model, backend="eager")(ids, targets), eager)  # the eager model is fused


def test_a_break_is_an_error_that_names_the_option() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if float(x.sum()) > 0 else x

    torch._dynamo.reset()
    with (
        pytest.raises(PgolfError, match=r"train\.compile: the model is not one graph .*train\.compile=off"),
        whole_graph(),
    ):
        compiled(Broken(), backend="eager")(torch.ones(2))


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), whole_graph():
        raise ZeroDivisionError
