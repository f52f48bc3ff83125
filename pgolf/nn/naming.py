"""Names of a model's parameters, and how a name or prefix in the configuration selects them."""

from torch import nn

ROOT = "model"


def named_tensors(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter once, under its config path (`model.head.up.weight`)."""
    return {f"{ROOT}.{name}": p for name, p in model.named_parameters()}


def matches(name: str, pattern: str) -> bool:
    """`pattern` is the name or a prefix of it that ends at a dot."""
    return name == pattern or name.startswith(pattern.removesuffix(".") + ".")
