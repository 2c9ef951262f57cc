"""Live progress in the terminal, and the summary at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from resetrl.hookspecs import hookimpl
from resetrl.run.context import Evaluation, RunContext
from resetrl.types import StepRecord


def announce(console: Console, name: str, verb: str, folder: Path) -> None:
    """Say that something starts or goes on, and where; the path stays in one piece."""
    where = f" {verb}; everything it writes is in {folder}"
    console.print(Text.assemble((name, "bold"), where), soft_wrap=True)


@dataclass
class Progress:
    """An observer that shows step, accuracy, reward, localization, tokens/s and the time left.

    Where output is no terminal it prints one line for each evaluation instead of a bar.
    """

    _bar: Bar | None = None
    _task: TaskID | None = None
    _accuracy: float | None = None
    _recent: dict[str, float] = field(default_factory=dict)

    @hookimpl
    def resetrl_run_started(self, run: RunContext) -> None:
        verb = f"resumes after step {run.start_step}" if run.start_step else "starts"
        announce(run.console, run.name, verb, run.folder)
        self._bar = Bar(
            TextColumn("[bold]step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            console=run.console,
            disable=not run.console.is_terminal,
        )
        self._task = self._bar.add_task(
            "first evaluation", total=run.total_steps, completed=run.start_step
        )
        self._bar.start()

    @hookimpl
    def resetrl_step_finished(self, run: RunContext, record: StepRecord) -> None:
        seconds = sum(usage.seconds for usage in record.phases.values())
        tokens = sum(usage.generated_tokens for usage in record.phases.values())
        self._smooth("reward", record.metrics["reward/mean"])
        self._smooth("tokens/s", tokens / max(seconds, 1e-9))
        if "localization/exact" in record.metrics:
            self._smooth("exact resets", record.metrics["localization/exact"])
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=record.step, description=self._line())

    @hookimpl
    def resetrl_evaluated(self, run: RunContext, evaluation: Evaluation) -> None:
        self._accuracy = evaluation.accuracy
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=self._line())
        run.console.print(f"step {evaluation.step:>5}  {self._line()}", highlight=False)

    @hookimpl
    def resetrl_run_finished(self, run: RunContext, error: BaseException | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _smooth(self, name: str, value: float) -> None:
        """A running mean over about five steps, so that the line can be read."""
        self._recent[name] = 0.8 * self._recent.get(name, value) + 0.2 * value

    def _line(self) -> str:
        parts = [] if self._accuracy is None else [f"accuracy {self._accuracy:.3f}"]
        for name, value in self._recent.items():
            parts.append(f"{name} {value:,.0f}" if name == "tokens/s" else f"{name} {value:.2f}")
        return "  ".join(parts)
