"""The model: primitives, slot variants (one class per file) and the trunk that connects them."""
