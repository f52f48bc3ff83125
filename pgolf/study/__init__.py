"""Studies: their descriptions, the verdicts on published claims, and deviations from a study. Imports no torch."""
