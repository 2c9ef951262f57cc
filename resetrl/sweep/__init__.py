"""Many runs from one command: sweeps and searches.

command    what `resetrl train -m` does
plan       which sweep a command means, new or resumed
session    the sweep's folder, its parent run in MLflow, its outcome; for any launcher
record     `sweep.json`, what has become of every cell
launcher   `hydra/launcher=resetrl`
batch      the cells of one call of the launcher
pool       the processes, their slots and their end
job        what goes on inside the process of a job
preload    what every training run imports, for the fork server
table      the cells on the terminal

optuna_settings   the options of `hydra/sweeper=resetrl_optuna`, and the objective over seeds
optuna_space      hydra's sweep syntax as Optuna's distributions
optuna_study      storage and definition of a study, its sampler, what a kill left behind
optuna_pruning    the pruners, Wilcoxon over problems among them
optuna_search     ask, launch, tell
optuna_summary    a line a trial; at the end the best trials and best.yaml
optuna_tracking   the parent run's tags
optuna_sweep      from hydra's sweeper to a search
optuna_trial      the job's side: reports, and an early end
"""
