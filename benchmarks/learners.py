"""What an optimizer step of 135 million parameters costs under DeepSpeed, against torch alone.

    python benchmarks/learners.py [--repeats 7] [--stages 0] [--threads 2]

A Llama of the size of SmolLM2-135M with random parameters, float32, one process. Prints Markdown
for benchmarks/RESULTS.md; a stage takes about a minute on a quiet machine, and 10 GB. The CPU time
beside the seconds says what a busy machine hides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from resetrl.builtin.learners import DeepSpeed, Torch
from resetrl.builtin.losses import SuffixMean
from resetrl.interfaces import Learner, LearnerSpec
from resetrl.testing.contracts.learner import sample_batch

SPECS: dict[str, LearnerSpec] = {
    "torch": Torch(),
    **{f"deepspeed, stage {stage}": DeepSpeed(stage=stage) for stage in range(4)},
}


def random_model() -> PreTrainedModel:
    """The shape of SmolLM2-135M."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def seconds_of_step(learner: Learner) -> tuple[float, float]:
    """Seconds and CPU seconds of one optimizer step on 8 rollouts of 6 to 20 tokens."""
    batch = replace(sample_batch(), advantages=torch.tensor([1.0, -1.0] * 4))
    started, cpu_before = time.perf_counter(), time.process_time()
    learner.update(batch, SuffixMean())
    return time.perf_counter() - started, time.process_time() - cpu_before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--stages", type=int, nargs="*", default=[0])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    repeats = options.repeats
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    torch_learner = SPECS["torch"].start(random_model())
    about = f"{repeats} steps, {options.threads} threads, load {load:.1f} before"
    print(f"| {about} | step, s | of torch | CPU time, of torch |\n|---|---|---|---|")
    names = ["torch", *(f"deepspeed, stage {stage}" for stage in options.stages)]
    for name, spec in ((name, SPECS[name]) for name in names):
        # One at a time beside torch, in turn, so that both see the same load.
        learner = torch_learner if name == "torch" else spec.start(random_model())
        pairs = [
            (seconds_of_step(learner), seconds_of_step(torch_learner)) for _ in range(repeats + 1)
        ][1:]
        wall, cpu = ([step[kind] / of_torch[kind] for step, of_torch in pairs] for kind in (0, 1))
        print(
            f"| {name} | {statistics.median(step[0] for step, _ in pairs):.2f} | "
            f"{statistics.median(wall):.2f} ({min(wall):.2f} to {max(wall):.2f}) | "
            f"{statistics.median(cpu):.2f} |",
            flush=True,
        )
        del learner


if __name__ == "__main__":
    main()
