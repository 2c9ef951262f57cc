"""Parameters and optimizer: `torch` trains in one process."""
