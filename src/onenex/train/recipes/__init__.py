"""Training runs, each a function that returns a TrainConfig."""
