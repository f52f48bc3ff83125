"""A packed model in use: scores of a text, and generated text."""
