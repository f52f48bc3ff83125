"""Output heads: normalised distributions over the vocabulary."""
