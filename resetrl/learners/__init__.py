"""Parameters and optimizer: `torch` trains in one process, `deepspeed` in several."""
