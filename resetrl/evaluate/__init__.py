"""What a policy can do, without training it: `resetrl eval` and `resetrl correct`.

    command             the two commands; eval_session and correct_session carry them out
    config, setup       from the command line, and a run's folder, to checked options
    suite               which tasks are evaluated
    evaluation          answers held-out problems, greedily and by sampling; can be resumed
    answers             what is kept of each problem, and the file it is appended to
    statistics          pass@k, majority votes, intervals
    scores              from answers to figures; evaluation_report prints and tracks them
    correction          Thought-ICS: localize, go back, resample, in rounds
    acceptance          which answers a round leaves alone: the verifier's word or the policy's
    correction_report   from rounds to figures
    report              what both do with their figures: bar, files, MLflow

`resetrl.ask` does the asking, here as in training.
"""
