"""Evaluation modes: plans of windows over the validation targets."""
