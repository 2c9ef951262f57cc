"""resetrl: experiments with reset-based reinforcement learning of language models.

The map: `step` is one training step, top to bottom; `types` are its records, `interfaces` its
components, `hookspecs` how to add some; `builtin` shows how each is written; `run` turns a
configuration into a run that is tracked, checkpointed and resumed.
"""

__version__ = "0.1.0"
