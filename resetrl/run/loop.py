"""The train loop: steps, evaluations and checkpoints, and telling the observers."""

from __future__ import annotations

import dataclasses
import hashlib
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console

from resetrl.errors import CheckpointError, PluginError, ResetrlError
from resetrl.method import Method, Session
from resetrl.models import load_model
from resetrl.plugins import Registry
from resetrl.rng import derive_seed
from resetrl.run.build import build_method, build_session, build_task
from resetrl.run.checkpoint import Checkpoint, save_checkpoint, weights_hash
from resetrl.run.compose import config_hash, flat_dict, to_run_config
from resetrl.run.config import RunConfig
from resetrl.run.context import Evaluation, RunContext
from resetrl.run.data import PromptMaker, problems_hash, problems_of_step
from resetrl.run.ledger import Ledger
from resetrl.run.progress import Progress
from resetrl.run.rollouts import RolloutLog
from resetrl.run.tracking import Tracking, TrackingStatus
from resetrl.step import train_step
from resetrl.types import Problem, Prompt, Request, Rollout, Sampling, StepRecord


@dataclass(frozen=True)
class Outcome:
    """What a finished run comes to.

    `evaluations` are those of this process, oldest first; `weights_hash` identifies the final
    parameters, which lie as a Hugging Face folder in `checkpoint`; `tracking` says
    where MLflow has the run, None if it is not tracked there.
    """

    folder: Path
    steps: int
    evaluations: Sequence[Evaluation]
    ledger: Ledger
    checkpoint: Path
    weights_hash: str
    tracking: TrackingStatus | None = None


@dataclass
class Trainer:
    """A run in the making: everything built from its configuration, and how far it is."""

    config: RunConfig
    config_hash: str
    folder: Path
    method: Method
    session: Session
    maker: PromptMaker
    training: Sequence[Problem]
    held_out: Sequence[Prompt]
    ledger: Ledger = field(default_factory=Ledger)
    start_step: int = 0

    def run(self, context: RunContext, registry: Registry) -> Outcome:
        """Train to the last step, evaluate and checkpoint on the way, and tell the observers."""
        tell = partial(tell_observers, registry)
        error: BaseException | None = None
        evaluations: list[Evaluation] = []
        checkpoint = self.folder
        try:
            tell("resetrl_run_started", run=context)
            for step in range(self.start_step, self.config.steps + 1):
                if step > self.start_step:
                    record = self._train(step)
                    tell("resetrl_step_finished", run=context, record=record)
                if self._is_due(step, self.config.evaluation.every) or step == 0:
                    evaluations.append(self._evaluate(step))
                    tell("resetrl_evaluated", run=context, evaluation=evaluations[-1])
                if self._is_due(step, self.config.checkpoint.every):
                    checkpoint = self._checkpoint(step)
        except BaseException as caught:
            error = caught
            raise
        finally:
            tell("resetrl_run_finished", run=context, error=error)
        return Outcome(
            self.folder,
            self.config.steps,
            evaluations,
            self.ledger,
            checkpoint,
            weights_hash(checkpoint),
        )

    def _is_due(self, step: int, every: int) -> bool:
        """After every k-th new step and after the last one."""
        return step > self.start_step and (step % every == 0 or step == self.config.steps)

    def _train(self, step: int) -> StepRecord:
        problems = problems_of_step(
            self.training, step, self.config.prompts_per_step, self.config.seed
        )
        prompts = [self.maker.prompt(problem) for problem in problems]
        record = train_step(step, prompts, self.method, self.session)
        self.ledger.add(record)
        return dataclasses.replace(record, metrics={**record.metrics, **self.ledger.metrics()})

    def _evaluate(self, step: int) -> Evaluation:
        """One completion of each held-out problem, without resets."""
        started = time.perf_counter()
        settings = self.config.evaluation
        requests = [
            Request(
                prompt_ids=prompt.token_ids,
                rng_seed=derive_seed(self.config.seed, "evaluation", prompt.uid),
                sampling=Sampling(settings.temperature, settings.top_p),
                limits=self.method.limits,
            )
            for prompt in self.held_out
        ]
        completions = self.session.policy.generate(requests)
        rollouts = [Rollout(p, c) for p, c in zip(self.held_out, completions, strict=True)]
        verdicts = self.session.verifier.verify(rollouts)
        return Evaluation(
            step=step,
            accuracy=sum(verdict.correct for verdict in verdicts) / len(verdicts),
            reward=sum(verdict.reward for verdict in verdicts) / len(verdicts),
            judged=list(zip(rollouts, verdicts, strict=True)),
            seconds=time.perf_counter() - started,
        )

    def _checkpoint(self, step: int) -> Path:
        return save_checkpoint(
            self.folder,
            step,
            self.session.learner,
            self.ledger,
            self.config_hash,
            self.config.checkpoint.keep,
        )


def tell_observers(registry: Registry, hook: str, **news: object) -> None:
    """Call an observer hook; what a plugin raises there becomes a PluginError that names it."""
    try:
        getattr(registry.manager.hook, hook)(**news)
    except (ResetrlError, OSError):
        raise
    except Exception as error:  # a plugin may fail in any way; all are reported alike
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(
            f"an observer failed in {hook} ({frame.filename}:{frame.lineno}): "
            f"{type(error).__name__}: {error}; repair the plugin or leave it out"
        ) from error


def build_trainer(
    config: DictConfig, folder: Path, registry: Registry, resume_from: Checkpoint | None = None
) -> Trainer:
    """Everything a run needs, checked before anything is generated or written."""
    run = to_run_config(config)
    torch.set_num_threads(run.num_threads)
    task = build_task(run, registry)
    method = build_method(run, registry)
    loaded = load_model(run.model)
    session = build_session(run, registry, task, loaded)
    if method.selector is not None:
        method.selector.select([], session.selector_context(0))
    maker = PromptMaker(loaded, run.model, method.limits)
    training, held_out = task.problems("train"), task.problems("eval")
    problems_of_step(training, 1, run.prompts_per_step, run.seed)
    num_held_out = run.evaluation.problems or len(held_out)
    trainer = Trainer(
        config=run,
        config_hash=config_hash(config),
        folder=folder,
        method=method,
        session=session,
        maker=maker,
        training=training,
        held_out=[maker.prompt(held_out[i]) for i in range(min(num_held_out, len(held_out)))],
    )
    if resume_from is not None:
        if resume_from.step >= run.steps:
            raise CheckpointError(
                f"{folder} is already at step {resume_from.step} of {run.steps}: nothing is left "
                "to do; add steps=... to train on"
            )
        session.learner.load(resume_from.folder)
        trainer.ledger, trainer.start_step = resume_from.ledger, resume_from.step
    return trainer


DATASET_SAMPLE = 256
"""Training problems that stand for all in the tag `dataset`: a set may be generated on access."""


def provenance(trainer: Trainer, registry: Registry) -> dict[str, str]:
    """Tags that say whether two runs may be compared: configuration, problems, code.

    `code` covers resetrl and every plugin loaded, `eval_set` the held-out problems in use.
    """
    code = "".join(f"{plugin['plugin']}:{plugin['sha256']}\n" for plugin in registry.manifest())
    return {
        "config_hash": trainer.config_hash,
        "dataset": problems_hash(trainer.training, DATASET_SAMPLE),
        "eval_set": problems_hash([prompt.problem for prompt in trainer.held_out]),
        "code": hashlib.sha256(code.encode()).hexdigest()[:16],
    }


def run_trainer(
    trainer: Trainer, config: DictConfig, registry: Registry, console: Console, sweep: str = ""
) -> Outcome:
    """Train what `build_trainer` built, with tracking, saved rollouts and live progress.

    `sweep` is the tracking key of the sweep it belongs to.
    """
    context = RunContext(
        name=trainer.folder.name,
        folder=trainer.folder,
        config=flat_dict(config),
        start_step=trainer.start_step,
        total_steps=trainer.config.steps,
        plugins=registry.manifest(),
        console=console,
    )
    tags = provenance(trainer, registry)
    tracking = Tracking(trainer.config.tracking, tags=tags, parent=sweep)
    rollout_log = RolloutLog(
        trainer.config.save_rollouts_every,
        mask_prefix=trainer.method.mask_prefix,
        delimiter=trainer.session.delimiter,
        task=trainer.session.task,
    )
    observers = [tracking, rollout_log, Progress()]
    for observer in observers:
        registry.manager.register(observer)
    try:
        outcome = trainer.run(context, registry)
    finally:
        for observer in observers:
            registry.manager.unregister(observer)
    return dataclasses.replace(outcome, tracking=tracking.status)
