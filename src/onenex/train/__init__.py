"""Training: dataset, loop, checkpoints, recipes."""
