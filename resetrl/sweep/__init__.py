"""Many runs from one command.

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
