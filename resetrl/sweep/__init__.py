"""Many runs from one command: the launcher, and what makes its jobs one sweep.

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
"""
