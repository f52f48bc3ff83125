"""Embedding variants: ids [B, T] -> x [B, T, D], and scores [B, T, V] for a tied head."""
