"""The audit of pgolf's own runs: what a run folder claims, held against what execution shows."""
