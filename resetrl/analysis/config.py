"""The options of `resetrl analyze localization --fresh`; their values are in conf/."""

from __future__ import annotations

from dataclasses import dataclass, field

from resetrl.errors import ConfigError
from resetrl.evaluate.config import AnsweringConfig
from resetrl.run.compose import Primary


@dataclass
class LocalizeConfig(AnsweringConfig):
    """The options of `resetrl analyze localization --fresh`.

    draws: completions sampled of each problem; the first that has a wrong thought becomes a seed.
    selectors: the reset selectors that each go back in every seed.
    suffixes: continuations sampled from every reset.
    """

    draws: int = 4
    selectors: list[str] = field(default_factory=lambda: ["self_localization", "uniform", "oracle"])
    suffixes: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("draws", "suffixes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: choose at least 1")
        if not self.selectors or len(set(self.selectors)) < len(self.selectors):
            raise ConfigError(
                f"selectors is {self.selectors}: give one or several, each once, such as "
                "'selectors=[self_localization,uniform]'"
            )
        if self.sampling.temperature == 0:
            raise ConfigError(
                "sampling.temperature is 0: all suffixes of a reset would be alike; choose a value "
                "above 0, such as 0.7"
            )


LOCALIZE = Primary("localize", LocalizeConfig)
