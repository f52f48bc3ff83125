"""Looks inside trained weights: spectra of matrices beside random ones, residual mixing, and the use of depth.

It imports torch and numpy, no Hydra and no corpus. What scores a model is passed as a function.
"""
