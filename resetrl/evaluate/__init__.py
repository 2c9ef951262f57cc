"""What a policy can do, without training it: `resetrl eval` and `resetrl correct`.

    command             the two commands
    config, setup       from the command line, and a run's folder, to checked options
    suite               which tasks are evaluated
    evaluation          answers held-out problems, greedily and by sampling, and can be resumed
    answers             what is kept of each problem, and the file it is appended to
    statistics          pass@k, majority votes, intervals
    scores              from answers to figures
    correction          Thought-ICS: localize, go back, resample, in rounds
    acceptance          which answers a round leaves alone: by the verifier or by the policy's word
    correction_report   from rounds to figures
    report              tables, files, MLflow

`resetrl.ask` does the asking, here as in training.
"""
