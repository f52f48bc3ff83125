"""One training run: the loop, its checkpoints, its log."""
