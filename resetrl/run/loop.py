"""The train loop: steps, evaluations and checkpoints, and telling the observers."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console

from resetrl.ask import Asked, answer
from resetrl.errors import CheckpointError, RunPruned, blaming
from resetrl.interfaces import SelfEvaluation, TaggedVerifier
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.models import load_model
from resetrl.plugins import Registry
from resetrl.ranks import ALONE, Ranks
from resetrl.record import combined_phases
from resetrl.run.blame import naming_components, tell_all, tell_observers
from resetrl.run.build import (
    build_learner,
    build_method,
    build_session,
    build_task,
    check_engine,
)
from resetrl.run.checkpoint import Checkpoint, save_checkpoint, weights_hash
from resetrl.run.compose import config_hash, flat_dict, to_run_config
from resetrl.run.config import RunConfig
from resetrl.run.context import Evaluation, RunContext
from resetrl.run.data import PromptMaker, problems_hash, problems_of_step
from resetrl.run.launch import check_processes
from resetrl.run.ledger import Ledger
from resetrl.run.progress import Progress
from resetrl.run.rollouts import RolloutLog
from resetrl.run.tracking import Tracking, TrackingStatus
from resetrl.step import train_step
from resetrl.sweep.optuna_trial import trial_observer
from resetrl.sync import synchronise
from resetrl.types import Problem, Prompt, Sampling, StepRecord


@dataclass(frozen=True)
class Outcome:
    """What a finished run comes to.

    `evaluations` are those of this process, oldest first; `budget` says which one ended the run
    after `steps`, None if it came to its last step; `weights_hash` identifies the final
    parameters, which lie as a Hugging Face folder in `checkpoint`; `tracking` says
    where MLflow has the run, None if it is not tracked there. `value` is for sweepers: the last
    held-out accuracy, or what the search that the run belongs to asks for. `pruned` says why a
    search ended the run early; it then has neither hash nor, if it was early enough, checkpoint.
    """

    folder: Path
    steps: int
    budget: str | None
    evaluations: Sequence[Evaluation]
    ledger: Ledger
    checkpoint: Path
    weights_hash: str
    tracking: TrackingStatus | None = None
    value: float | Mapping[str, float] = math.nan
    pruned: str = ""


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
        """Train to the last step or the end of a budget, and tell the observers.

        Evaluates before the first step; evaluates and checkpoints on the way and after the last.
        """
        ranks, tell = self.session.ranks, partial(tell_all, self.session.ranks, registry)
        error: BaseException | None = None
        evaluations: list[Evaluation] = []
        checkpoint, budget = self.folder, None
        try:
            tell("resetrl_run_started", run=context)
            for step in range(self.start_step, self.config.steps + 1):
                if step > self.start_step:
                    with naming_components(registry):
                        record = self._train(step)
                    tell("resetrl_step_finished", run=context, record=record)
                budget = self.config.stop.reached(self.ledger)
                is_last = step == self.config.steps or budget is not None
                if step == 0 or self._is_due(step, self.config.evaluation.every, is_last):
                    evaluations.append(self._evaluate(step, is_last))
                    tell("resetrl_evaluated", run=context, evaluation=evaluations[-1])
                if self._is_due(step, self.config.checkpoint.every, is_last):
                    checkpoint = self._checkpoint(step)
                if is_last:
                    break
        except RunPruned as caught:
            error = caught
        except BaseException as caught:
            error = caught
            raise
        finally:
            # By rank 0 alone: where one rank has failed, the others cannot be asked.
            if ranks.is_first:
                tell_observers(registry, "resetrl_run_finished", run=context, error=error)
        return Outcome(
            self.folder,
            step,
            budget,
            evaluations,
            self.ledger,
            checkpoint,
            weights_hash(checkpoint) if ranks.is_first and not error else "",
            value=evaluations[-1].accuracy,
            pruned=str(error) if error else "",
        )

    def _is_due(self, step: int, every: int, is_last: bool) -> bool:
        """After every k-th new step and after the last one."""
        return step > self.start_step and (step % every == 0 or is_last)

    def _train(self, step: int) -> StepRecord:
        problems = problems_of_step(
            self.training, step, self.config.prompts_per_step, self.config.seed
        )
        mine = self.session.ranks.share(problems)
        with blaming(self.session.task, "task", [problem.uid for problem in mine]):
            prompts = [self.maker.prompt(problem) for problem in mine]
        record = train_step(step, prompts, self.method, self.session)
        self.ledger.add(record)
        return dataclasses.replace(record, metrics={**record.metrics, **self.ledger.step_metrics()})

    def _evaluate(self, step: int, is_last: bool) -> Evaluation:
        """One completion of each held-out problem, and what the sampler makes of them."""
        meter = Meter(self.session.policy.counters, self.session.learner.num_parameters)
        ranks, settings = self.session.ranks, self.config.evaluation
        sampling = Sampling(settings.temperature, settings.top_p)
        asked = [
            Asked.held_out(prompt, sampling, self.method.limits, self.config.seed)
            for prompt in ranks.share(self.held_out)
        ]
        judged = answer(asked, self.session, meter, phase="evaluate", verify_phase="evaluate")
        metrics: Mapping[str, float] = {}
        if isinstance(self.method.sampler, SelfEvaluation) and judged:
            method = dataclasses.replace(self.method, sampling=sampling)
            inner = Meter(self.session.policy.counters, num_parameters=0)
            with meter.phase("evaluate"):
                metrics = self.method.sampler.evaluate(judged, method, self.session, inner)
        metrics = _mean_metrics(ranks.gather((metrics, len(judged))))
        usage = combined_phases(ranks.gather(meter.usage()))["evaluate"]
        judged = ranks.join(judged)
        verdicts = [verdict for _, verdict in judged]
        self.ledger.add_evaluation(usage)
        return Evaluation(
            step=step,
            accuracy=sum(verdict.correct for verdict in verdicts) / len(verdicts),
            reward=sum(verdict.reward for verdict in verdicts) / len(verdicts),
            judged=judged,
            usage=usage,
            metrics=metrics,
            totals=self.ledger.evaluation_metrics(),
            is_last=is_last,
        )

    def _checkpoint(self, step: int) -> Path:
        return save_checkpoint(
            self.folder,
            step,
            self.session.learner,
            self.session.tokenizer,
            self.ledger,
            self.config_hash,
            self.config.checkpoint.keep,
            self.session.ranks,
        )


def _mean_metrics(of_ranks: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Means over problems, of the ranks that report a metric: theirs with their number."""
    if len(of_ranks) == 1:
        return dict(of_ranks[0][0])
    names = dict.fromkeys(name for metrics, _ in of_ranks for name in metrics)
    shares = {name: [(m[name], n) for m, n in of_ranks if name in m] for name in names}
    return {
        name: sum(value * number for value, number in share) / sum(number for _, number in share)
        for name, share in shares.items()
    }


def build_trainer(
    config: DictConfig,
    folder: Path,
    registry: Registry,
    resume_from: Checkpoint | None = None,
    ranks: Ranks = ALONE,
) -> Trainer:
    """Everything a run needs, checked before anything is generated or written."""
    run = to_run_config(config)
    check_processes(run, build_learner(run, registry), ranks.num)
    torch.set_num_threads(run.num_threads)
    if ranks.num > 1 and run.model.device == "cuda":
        run.model.device = f"cuda:{ranks.local}"
    task = build_task(run, registry)
    method = build_method(run, registry)
    check_engine(run, registry, ranks)
    loaded = load_model(run.model, rng_seed=run.seed)
    session = build_session(run, registry, task, loaded, method, ranks)
    with naming_components(registry):
        method.sampler.sample(0, [], method, session, Meter(session.policy.counters, 0))
    maker = PromptMaker(loaded, run.model, method.limits)
    training, held_out = task.problems("train"), task.problems("eval")
    problems_of_step(training, 1, run.prompts_per_step, run.seed)
    num_held_out = min(run.evaluation.problems or len(held_out), len(held_out))
    asked = [held_out[index] for index in range(num_held_out)]
    with naming_components(registry), blaming(task, "task", [problem.uid for problem in asked]):
        prompts = [maker.prompt(problem) for problem in asked]
    trainer = Trainer(
        config=run,
        config_hash=config_hash(config),
        folder=folder,
        method=method,
        session=session,
        maker=maker,
        training=training,
        held_out=prompts,
    )
    if resume_from is not None:
        if resume_from.step >= run.steps:
            raise CheckpointError(
                f"{folder} is already at step {resume_from.step} of {run.steps}: nothing is left "
                "to do; add steps=... to train on"
            )
        spent = run.stop.reached(resume_from.ledger)
        if spent is not None:
            raise CheckpointError(
                f"{folder} has spent its budget after step {resume_from.step}: {spent}; raise it "
                "to train on, or set it to null"
            )
        session.learner.load(resume_from.folder)
        trainer.ledger, trainer.start_step = resume_from.ledger, resume_from.step
    synchronise(session)
    return trainer


DATASET_SAMPLE = 256
"""Training problems that stand for all in the tag `dataset`: a set may be generated on access."""


def provenance(trainer: Trainer, registry: Registry) -> dict[str, str]:
    """Tags that say whether two runs may be compared: configuration, problems, code.

    `code` covers resetrl and every plugin loaded, `eval_set` the held-out problems in use. A
    verifier may add its own, such as the level of the sandbox it runs programs in.
    """
    verifier = trainer.session.verifier
    code = "".join(f"{plugin['plugin']}:{plugin['sha256']}\n" for plugin in registry.manifest())
    return {
        "config_hash": trainer.config_hash,
        "dataset": problems_hash(trainer.training, DATASET_SAMPLE),
        "eval_set": problems_hash([prompt.problem for prompt in trainer.held_out]),
        "code": hashlib.sha256(code.encode()).hexdigest()[:16],
        **(verifier.tags() if isinstance(verifier, TaggedVerifier) else {}),
    }


def run_trainer(
    trainer: Trainer, config: DictConfig, registry: Registry, console: Console, sweep: str = ""
) -> Outcome:
    """Train what `build_trainer` built, with tracking, saved rollouts and live progress.

    `sweep` is the tracking key of the sweep it belongs to. A run in whose folder a search left its
    trial reports to that, and ends early if it is pruned. Only rank 0 has observers.
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
    if not trainer.session.ranks.is_first:
        return trainer.run(context, registry)
    trial = trial_observer(trainer.folder)
    tags = {**provenance(trainer, registry), **(trial.link.tags if trial else {})}
    tracking = Tracking(trainer.config.tracking, tags=tags, parent=sweep)
    rollout_log = RolloutLog(
        trainer.config.save_rollouts_every,
        mask_prefix=trainer.method.mask_prefix,
        delimiter=trainer.session.delimiter,
        task=trainer.session.task,
    )
    # The last one is told first: a pruned run's last evaluation is tracked before it ends.
    observers = [*([trial] if trial else []), tracking, rollout_log, Progress()]
    for observer in observers:
        registry.manager.register(observer)
    try:
        outcome = trainer.run(context, registry)
    finally:
        for observer in observers:
            registry.manager.unregister(observer)
    value = trial.outcome(outcome.ledger.metrics()) if trial else outcome.value
    return dataclasses.replace(outcome, tracking=tracking.status, value=value)
