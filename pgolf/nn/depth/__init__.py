"""Depth variants: how the blocks are connected."""
