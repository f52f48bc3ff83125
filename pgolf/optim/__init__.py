"""Optimizer algorithms, one a file; which role uses which is configuration."""
