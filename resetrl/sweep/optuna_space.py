"""The search space: hydra's sweep syntax as Optuna's distributions, and back as overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    ParsedElementType,
    RangeSweep,
    Sweep,
    Transformer,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from resetrl.errors import ConfigError

Value = bool | int | float | str
"""A value of a dimension; a string is the text of an override, quoted as hydra needs it."""

REPLICATE_KEY = "seed"
"""The key whose values are replicates of a trial and never a dimension."""


@dataclass(frozen=True)
class Space:
    """What a search varies: its dimensions, its replicates, and what stays as it is.

    `replicates` are the texts of the seeds, empty where none is swept; `keys` all but the seed
    in the order given. Example: of `learner.lr=interval(0,1) seed=0,1 steps=40` the dimensions
    are `{"learner.lr": FloatDistribution(0, 1)}`, the replicates `["0", "1"]`, fixed
    `{"steps": "steps=40"}` and the keys `["learner.lr", "steps"]`.
    """

    dimensions: Mapping[str, BaseDistribution]
    replicates: Sequence[str]
    fixed: Mapping[str, str]
    keys: Sequence[str]

    @property
    def choices(self) -> Sequence[str]:
        """The dimensions that are no numbers."""
        found = self.dimensions.items()
        return [key for key, dist in found if isinstance(dist, CategoricalDistribution)]

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """The overrides of a trial, without its seed."""
        return [self.fixed.get(key) or f"{key}={values[key]}" for key in self.keys]

    def jobs(self, values: Mapping[str, Value]) -> list[list[str]]:
        """The overrides of each job of a trial: one a seed, or one alone."""
        trial = self.overrides(values)
        return [[*trial, f"{REPLICATE_KEY}={seed}"] for seed in self.replicates] or [trial]

    def probes(self) -> list[list[str]]:
        """Jobs that between them name every dimension, seed and choice."""
        first = {key: _samples(dist)[0] for key, dist in self.dimensions.items()}
        others = [
            self.jobs({**first, key: choice})[0]
            for key in self.choices
            for choice in _samples(self.dimensions[key])[1:]
        ]
        return [*self.jobs(first), *others]

    def grid(self) -> Mapping[str, Sequence[Value]]:
        """All values of every dimension; raises ConfigError for one that has no end of them."""
        for key, dist in self.dimensions.items():
            if isinstance(dist, FloatDistribution) and dist.step is None:
                raise ConfigError(
                    f"hydra.sweeper.sampler=grid cannot list the values of {key}=interval("
                    f"{dist.low:g},{dist.high:g}): give a range or choices, or another sampler"
                )
        return {key: _samples(dist) for key, dist in self.dimensions.items()}


def _samples(dist: BaseDistribution) -> Sequence[Value]:
    """All values of a dimension, of an interval its lower end."""
    if isinstance(dist, CategoricalDistribution):
        return [choice for choice in dist.choices if choice is not None]
    if isinstance(dist, IntDistribution):
        return list(range(dist.low, dist.high + 1, dist.step))
    assert isinstance(dist, FloatDistribution)
    if dist.step is None:
        return [dist.low]
    low, high, step = (Decimal(str(number)) for number in (dist.low, dist.high, dist.step))
    return [float(low + position * step) for position in range(int((high - low) / step) + 1)]


def parse_space(overrides: Iterable[Override]) -> Space:
    """The space that overrides describe, a later one of the same key replacing an earlier.

    Raises ConfigError if nothing but seeds is swept or a sweep is no dimension.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    swept = {key: each for key, each in by_key.items() if each.is_sweep_override()}
    fixed = {key: str(each.input_line) for key, each in by_key.items() if key not in swept}
    replicates = _replicates(swept.pop(REPLICATE_KEY)) if REPLICATE_KEY in swept else []
    if not swept:
        raise ConfigError(
            "the search has no dimension: give one, for example "
            "'learner.lr=tag(log, interval(1e-5,1e-3))' or split=1x4,2x4"
            + ("; seeds are replicates of each trial" if replicates else "")
        )
    dimensions = {key: _dimension(each) for key, each in swept.items()}
    return Space(
        dimensions, replicates, fixed, [key for key in by_key if key in dimensions | fixed]
    )


def _replicates(override: Override) -> list[str]:
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{override.input_line}: seeds are replicates of each trial, not a dimension; list "
            f"them, for example {REPLICATE_KEY}=range(3)"
        )
    return _texts(override)


def _dimension(override: Override) -> BaseDistribution:
    sweep = override.value()
    tags = sweep.tags if isinstance(sweep, Sweep) else set()
    numeric = isinstance(sweep, IntervalSweep | RangeSweep)
    if tags - ({"log"} if numeric else set()):
        raise ConfigError(
            f"{override.input_line}: the only tag is log, and that of an interval or a range; "
            "write tag(log, interval(1e-5,1e-3))"
        )
    try:
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep, log="log" in tags)
        if isinstance(sweep, RangeSweep):
            return _range(sweep, log="log" in tags)
    except ValueError as error:
        raise ConfigError(f"{override.input_line} is no dimension: {error}") from error
    return _choice(override)


def _interval(sweep: IntervalSweep, log: bool) -> BaseDistribution:
    """`interval(a,b)` holds floats, `int(interval(a,b))` whole numbers; both ends belong to it."""
    assert sweep.start is not None and sweep.end is not None
    if sweep.start > sweep.end:
        raise ValueError(f"its end {sweep.end} lies below its start {sweep.start}")
    if log and sweep.start <= 0:
        raise ValueError("a logarithmic interval starts above 0")
    if isinstance(sweep.start, int) and isinstance(sweep.end, int):
        return IntDistribution(sweep.start, sweep.end, log=log)
    return FloatDistribution(sweep.start, sweep.end, log=log)


def _range(sweep: RangeSweep, log: bool) -> BaseDistribution:
    """`range(start,stop,step)`, without stop, as in hydra and Python."""
    values = sorted(sweep.range())
    if not values:
        raise ValueError("the range is empty")
    step = abs(sweep.step)
    if log and (step != 1 or values[0] < 1 or not isinstance(values[0], int)):
        raise ValueError("a logarithmic range holds whole numbers from 1 on, step by step")
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(values[0]), int(values[-1]), log=log, step=int(step))
    return FloatDistribution(values[0], values[-1], step=float(step))


def _choice(override: Override) -> BaseDistribution:
    texts = _texts(override)
    if len(set(texts)) < len(texts):
        raise ConfigError(f"{override.input_line} names a choice twice: leave one out")
    # Numbers as they are, so that a study can be read; everything else as hydra's text.
    pairs = zip(_elements(override), texts, strict=True)
    return CategoricalDistribution(
        [each if isinstance(each, bool | int | float) else text for each, text in pairs]
    )


def _texts(override: Override) -> list[str]:
    """The values of a discrete sweep as texts of overrides."""
    return [str(Transformer.str(each)) for each in _elements(override)]


def _elements(override: Override) -> list[ParsedElementType]:
    """The values of a discrete sweep in order: `shuffle` would make another study each time."""
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return list(sweep.list)
    if isinstance(sweep, RangeSweep):
        return list(sweep.range())
    return list(override.sweep_iterator())
