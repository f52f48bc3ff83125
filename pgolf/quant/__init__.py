"""Quantizers, and the packed model file."""
