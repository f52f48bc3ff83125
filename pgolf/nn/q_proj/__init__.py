"""Query projection variants: x [B, T, D] -> q [B, T, H*K]."""
