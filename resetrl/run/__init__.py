"""From a configuration to a run: compose, train, evaluate, checkpoint, track, resume."""
