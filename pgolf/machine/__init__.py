"""This computer: files, locks, signals, processes, CPU cores, GPUs and memory."""
