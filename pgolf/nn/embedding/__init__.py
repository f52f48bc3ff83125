"""Embeddings: ids[B,T] -> x[B,T,D], and back for a tied head."""
