"""Feed-forward variants: x [B, T, D] -> x [B, T, D]."""
