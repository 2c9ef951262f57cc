"""Many runs from one command: sweeps, their launcher, and the Optuna search."""
