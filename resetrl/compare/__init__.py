"""Comparing runs: from what the user names to tables, figures and a report.

    command        `resetrl compare` and `resetrl diff`; imports nothing heavy
    session        what `compare` does: read, compare, print, write, log
    load, folders  runs, sweeps and queries become `RunData`, from MLflow or from disk
    records        `RunData` and `Question`, and both as JSON
    groups         which runs count; groups, strata, baselines
    analysis       `compare_runs`: every number of a `Comparison`
    bootstrap, permutation, threshold, differences      the statistics
    checks         what a reader must know before believing it
    tables, formats, plots, methods, report, show       what is shown and written
    diff           two runs side by side

Everything between `load` and `report` is pure: data in, data out.
"""
