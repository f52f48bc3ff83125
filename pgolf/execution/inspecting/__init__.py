"""Inspection of a run folder or a packed file: which weights are read, what they are scored on, and the result."""
