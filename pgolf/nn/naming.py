"""Names of a model's parameters, and their selection by a name or prefix from the configuration."""

from torch import nn

ROOT = "model"


def named_tensors(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter once, by its config path (`model.head.up.weight`)."""
    return {f"{ROOT}.{name}": p for name, p in model.named_parameters()}


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is the name, or a prefix of it that ends at a dot."""
    return name == pattern or name.startswith(pattern.removesuffix(".") + ".")
