"""Scoring in bits per byte, and the evaluation modes: plans of windows over the validation targets."""
