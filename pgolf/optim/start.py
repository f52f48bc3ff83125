"""Keeps torch's optimizers from importing torch's compiler, which takes a second that a short run does not need."""

import sys

from torch.optim import Optimizer

# torch switches its compiler off inside these methods. To do so, it imports the compiler when one is first called.
METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def leave_compiler_unimported() -> None:
    """Let the methods of torch's optimizers run directly. No code of pgolf is compiled around a call to them.

    Does nothing where the compiler has been imported, or where a version of torch wraps the methods in another way.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in METHODS:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dynamo_disable = method
