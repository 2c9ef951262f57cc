"""How the numbers of a comparison are made, in sentences that stand in every report."""

from __future__ import annotations

from resetrl.compare.analysis import Comparison
from resetrl.compare.bootstrap import RESAMPLES
from resetrl.compare.differences import PERCENTILE_RUNS
from resetrl.compare.records import AXES
from resetrl.compare.tables import value_name


def methods(comparison: Comparison) -> list[str]:
    """What was resampled and tested, for what is in this comparison."""
    question = comparison.question
    strata = {stratum for each in comparison.results for stratum in each.group.strata}
    within = (
        f", inside each of {len(strata)} strata, which count equally" if len(strata) > 1 else ""
    )
    made = [
        f"Every run gives one number: {value_name(comparison)}.",
        f"Mean and curves: Student's t interval on the standard error of {RESAMPLES:,} bootstrap "
        f"resamples of the runs{within}, corrected for their narrowness in small samples. A "
        "percentile interval of few runs is too narrow: it cannot leave the range of the runs.",
        f"IQM: mean of the middle half of the runs; percentile interval of {RESAMPLES:,} "
        "resamples, as in rliable (Agarwal et al., arXiv 2108.13264), of "
        f"{PERCENTILE_RUNS} runs or more.",
    ]
    found = [each.difference for each in comparison.results if each.difference is not None]
    if any(each.num_problems for each in found):
        made.append(
            "Difference: paired over run seeds and problems (pairs: run seeds x problems of a "
            "stratum); the resamples draw both, so the interval speaks of other run seeds and "
            "other problems like these. "
            "The noise of single answers, which both draws hold, is counted once (Cameron, "
            "Gelbach and Miller, 2011)."
        )
    elif any(each.num_pairs for each in found):
        made.append(
            "Difference: paired over run seeds, on these evaluation problems; interval as for the "
            "mean."
        )
    if any(not each.num_pairs for each in found):
        made.append("Unpaired difference: the runs of both are drawn independently.")
    if found:
        made.append(
            "p: two-sided, by flipping the signs of the paired differences over run seeds (labels "
            f"are shuffled where nothing is paired), Holm-corrected for {len(found)} "
            f"comparison{'' if len(found) == 1 else 's'}."
        )
        made.append(
            "P(better): the probability that a run is better than one of the baseline, ties one "
            "half; percentile interval, as in rliable."
        )
    if question.threshold is not None:
        made.append(
            f"Time: {AXES[question.x]} at the first evaluation with {question.metric} at least "
            f"{question.threshold:g}; median by Kaplan and Meier, in which runs that never got "
            "there count as long as they were watched; percentile interval."
        )
    return made
