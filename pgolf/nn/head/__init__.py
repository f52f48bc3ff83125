"""Head variants: x [B, T, D] -> log-probabilities over the vocabulary."""
