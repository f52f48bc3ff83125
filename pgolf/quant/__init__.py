"""Quantizers: a float tensor -> arrays that compress well, and what the packed model will run with."""
