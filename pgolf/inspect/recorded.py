"""Measures of every matrix of a model, as events of a run's log."""

from typing import Any

import numpy as np

from pgolf.inspect.factored import are_finite
from pgolf.inspect.grouping import matrices
from pgolf.inspect.spectra import measures
from pgolf.nn.gpt import GPT


def summary_measures(model: GPT) -> list[dict[str, Any]]:
    """The measures of every matrix without their references, one table per matrix. Draws no random numbers.

    spectral_norm: s_1, which the other measures do not depend on. All are None for weights that are not finite.
    """
    events = []
    for matrix in matrices(model):
        is_finite = are_finite(matrix.factors.weights)
        values = matrix.factors.values() if is_finite else np.zeros(1)
        norm = float(values[0]) if is_finite else None
        numbers = {"spectral_norm": norm, **measures(values).to_dict()}
        events.append({"matrix": matrix.name, **{name: rounded(number) for name, number in numbers.items()}})
    return events


def rounded(number: float | None) -> float | None:
    """A number with seven digits, as float32 has them: the log stays short."""
    return None if number is None else float(f"{number:.7g}")
