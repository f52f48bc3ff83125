"""The model: primitives, slot variants (one class a file) and the trunk that wires them."""
