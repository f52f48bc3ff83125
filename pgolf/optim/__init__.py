"""Optimizers, parameter roles, learning-rate schedules and averages of the weights."""
