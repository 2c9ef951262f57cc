"""The theory lab: what a credit-assignment oracle is worth, measured where everything is known.

Reading order:

- `mdp`         a finite-horizon Thought MDP as arrays, and its exact quantities
- `generators`  random trees and a chain with one rare decision, with dials for p, tau, H, |Y|
- `chain_task`  the MDP of the built-in `chain` task under a tabular policy
- `sampling`    reset samples: simulated rollout by rollout, or drawn as counts
- `cpi`         CPI-RR, CPI-CARO and the imperfect oracle: one algorithm, three acceptance rules
- `curves`      bootstrapped curves and their log-log slopes
- `measure`     samples to an accuracy, improvement per iteration, samples to an optimality gap
- `lab`         which measurements are made, what the paper claims of each, the verdict
- `report`      table, CSV, plots, MLflow
- `command`     `resetrl theory`

Nothing is imported here, so that the command line can load `command` without numpy.
"""
