"""Parameters and optimizer under DeepSpeed: the learner, its engine, its state on disk."""
