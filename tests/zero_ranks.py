"""What each of two gloo processes does in tests/learners/test_deepspeed.py; rank 0 reports."""

import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from resetrl.batch import take_rows
from resetrl.builtin.learners import DeepSpeed
from resetrl.builtin.losses import SuffixMean
from resetrl.errors import TrainingError
from resetrl.testing import random_llama
from resetrl.testing.contracts.learner import sample_batch

OPTIONS = {"lr": 2e-4, "weight_decay": 0.01, "max_grad_norm": 0.5, "micro_batch": 2}


def vector(learner):
    """All parameters as one vector, in the order of their names."""
    return torch.cat([tensor.detach().clone().flatten() for _, tensor in learner.weights()])


def train(learner, steps, share=slice(None)):
    """Losses and norms of some steps, each on another batch, on a share of its rows."""
    losses, norms = [], []
    for step in steps:
        batch = sample_batch(step)
        rows = torch.arange(8)[share]
        update = learner.update(take_rows(batch, rows), SuffixMean())
        losses.append(update.loss)
        norms.append(update.grad_norm)
    return losses, norms


def summed(values):
    tensor = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(tensor)
    return tensor.tolist()


def run(rank, folder):
    """Rank 0 takes the first three rows, rank 1 the other five: passes differ, and are padded."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    report = {}
    for stage in range(4):
        report[stage] = of_stage(stage, rank, Path(folder))
    if rank == 0:
        Path(folder, "report.json").write_text(json.dumps(report))
    torch.distributed.destroy_process_group()
    os._exit(0)  # torch's threads may abort a process that ends in order


def of_stage(stage, rank, folder):
    share = slice(0, 3) if rank == 0 else slice(3, 8)
    spec = DeepSpeed(stage=stage, **OPTIONS)
    learner = spec.start(random_llama())
    losses, norms = train(learner, range(5), share)
    saved = folder / f"stage{stage}"
    saved.mkdir(exist_ok=True)
    learner.save(saved)
    weights = vector(learner)
    torch.save(weights, folder / f"weights{stage}.pt") if rank == 0 else None
    # A stage goes on from what another wrote.
    other = replace(spec, stage=(stage + 1) % 4).start(random_llama(rng_seed=1))
    other.load(saved)
    for each in (learner, other):
        train(each, [7], share)
    gap = float((vector(learner) - vector(other)).abs().max())
    return {
        "losses": summed(losses),
        "norms": norms,
        "gap_of_other_stage": gap,
        "refused": refused(learner, share),
    }


class _Broken(SuffixMean):
    """Not finite on one rank alone."""

    def loss(self, logprobs, batch):
        value, metrics = super().loss(logprobs, batch)
        return (value * float("nan") if "problem-4" in batch.uids else value), metrics


def refused(learner, share):
    before = vector(learner)
    try:
        learner.update(take_rows(sample_batch(), torch.arange(8)[share]), _Broken())
    except TrainingError as error:
        is_unchanged = torch.equal(before, vector(learner))
        return str(error) if is_unchanged else "the parameters changed"
    return "nothing was refused"
