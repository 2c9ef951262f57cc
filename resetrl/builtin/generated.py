"""Problems that are made when they are asked for, as many as a task likes to have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from resetrl.types import Problem, Purpose


class GeneratedProblems(Sequence[Problem]):
    """The problems of one purpose; each depends on the task's options and its index alone."""

    purpose: Purpose

    @property
    @abstractmethod
    def task_name(self) -> str:
        """The task that errors name."""

    @abstractmethod
    def make(self, index: int) -> Problem:
        """The problem of an index from 0 to the length."""

    @overload
    def __getitem__(self, index: int) -> Problem: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...

    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return [self.make(each) for each in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"{self.task_name}: problem {index} of {len(self)} {self.purpose} problems"
            )
        return self.make(index % len(self))
