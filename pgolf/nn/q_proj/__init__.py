"""Query projections: x[B,T,D] -> q[B,T,H*K]."""
