"""The pruners of a search, which count evaluations as their steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from resetrl.sweep.optuna_options import build
from resetrl.sweep.optuna_trial import outcome_attr

PRUNERS: Mapping[str, type] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "wilcoxon": WilcoxonPruner,
}


def make_pruner(name: str, options: Mapping[str, Any]) -> BasePruner:
    """The pruner of that name; raises ConfigError for an option it has not."""
    pruner = build("pruner", name, PRUNERS[name], options)
    return WilcoxonOverProblems(pruner) if isinstance(pruner, WilcoxonPruner) else pruner


class WilcoxonOverProblems(BasePruner):
    """Optuna's Wilcoxon signed-rank pruner, over the held-out problems of the last evaluation.

    A trial is pruned if, problem by problem, it is worse than the best finished trial was after
    as many evaluations. The outcome of a problem is its mean over the seeds. Optuna's pruner takes
    a step for each problem; here the steps of a study stay its evaluations, and the two trials
    are laid before it in a study of their own.
    """

    def __init__(self, pruner: WilcoxonPruner) -> None:
        self._pruner = pruner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not finished or trial.last_step is None:
            return False
        best, mine = (_outcomes(each, trial.last_step) for each in (study.best_trial, trial))
        shared = sorted(best.keys() & mine.keys())
        if not shared:
            return False
        pair = optuna.create_study(directions=study.directions)
        pair.add_trial(
            create_trial(
                value=sum(best[uid] for uid in shared) / len(shared),
                intermediate_values={i: best[uid] for i, uid in enumerate(shared)},
            )
        )
        running = create_trial(
            state=TrialState.RUNNING,
            intermediate_values={i: mine[uid] for i, uid in enumerate(shared)},
        )
        return self._pruner.prune(pair, running)


def _outcomes(trial: FrozenTrial, position: int) -> dict[str, float]:
    """The outcome of each problem after some evaluations, its mean over the seeds."""
    by_problem: dict[str, list[float]] = defaultdict(list)
    replicate = 0
    while (attr := outcome_attr(position, replicate)) in trial.user_attrs:
        for uid, outcome in trial.user_attrs[attr]["outcomes"].items():
            by_problem[uid].append(outcome)
        replicate += 1
    return {uid: sum(outcomes) / len(outcomes) for uid, outcomes in by_problem.items()}
