"""What an evaluation costs beside the engine: its tokens/s against one call of all requests.

    python benchmarks/evaluation.py [--problems 200] [--samples 8] [--repeats 3]

The built-in policy on the chain task. Prints Markdown for benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from resetrl.ask import Asked
from resetrl.evaluate.answers import AnswerFile
from resetrl.evaluate.config import EVAL, EvalConfig
from resetrl.evaluate.evaluation import GREEDY, Evaluator
from resetrl.evaluate.scores import score_task
from resetrl.evaluate.setup import set_up
from resetrl.evaluate.suite import labelled_tasks
from resetrl.meter import Meter
from resetrl.run.build import build_inference, start_policy
from resetrl.run.compose import to_typed
from resetrl.run.data import PromptMaker


class Bench:
    """One evaluation, measured from the first prompt to the last figure, and its bare requests."""

    def __init__(self, problems: int, samples: int) -> None:
        import torch

        setup = set_up([f"problems={problems}", f"samples={samples}"], EVAL)
        self.config = to_typed(setup.config, EvalConfig)
        torch.set_num_threads(self.config.num_threads)
        (task,) = labelled_tasks(self.config, setup.registry)
        # Generating problems is the task's work, whoever answers them.
        self.task = replace(task, problems=task.problems[:])
        loaded = setup.load_model(self.config.model)
        self.policy = start_policy(self.config, setup.registry, loaded)
        self.inference = build_inference(
            self.config, setup.registry, self.task.task, loaded, self.policy
        )
        self.limits = self.config.limits.record()
        self.maker = PromptMaker(loaded, self.config.model, self.limits)

    def raw(self) -> float:
        """Tokens/s of the engine alone: every request of the evaluation in one call."""
        prompts = [self.maker.prompt(self.task.problems[i]) for i in range(self.task.num_problems)]
        ask = partial(Asked.held_out, limits=self.limits, run_seed=self.config.seed)
        sampling = self.config.sampling.record()
        requests = [
            each.request
            for prompt in prompts
            for each in (
                ask(prompt, GREEDY),
                *(ask(prompt, sampling, sample=i) for i in range(self.config.samples)),
            )
        ]
        started = time.perf_counter()
        completions = self.policy.generate(requests)
        return sum(c.num_drawn for c in completions) / (time.perf_counter() - started)

    def evaluation(self) -> float:
        """Tokens/s of the evaluation: prompts, verdicts, the file and the figures included."""
        evaluator = Evaluator(
            self.maker,
            self.config.sampling.record(),
            self.limits,
            self.config.samples,
            self.config.chunk,
        )
        before = self.policy.counters.generated_tokens
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            file = AnswerFile(Path(folder) / "chain.jsonl")
            meter = Meter(self.policy.counters, 0)
            answers = evaluator.evaluate(self.task, self.inference, meter, file, lambda done: None)
            score_task(self.task.label, answers, self.config.ks, self.config.seed)
            seconds = time.perf_counter() - started
        return (self.policy.counters.generated_tokens - before) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    bench = Bench(options.problems, options.samples)
    bench.raw()  # warm-up
    print("| engine alone, tokens/s | evaluation, tokens/s | ratio |\n|---|---|---|")
    ratios = []
    for _ in range(options.repeats):
        raw, evaluation = bench.raw(), bench.evaluation()
        ratios.append(evaluation / raw)
        print(f"| {raw:,.0f} | {evaluation:,.0f} | {ratios[-1]:.2f} |")
    print(f"\nmedian ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
