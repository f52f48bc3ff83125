"""Feed-forward layers: x[B,T,D] -> x[B,T,D]."""
