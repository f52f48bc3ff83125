"""Trackers: the curves and the record of a run for TensorBoard, Weights & Biases, Trackio or MLflow."""
