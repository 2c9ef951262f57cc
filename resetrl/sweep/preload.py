"""Importing this imports what every training run needs, before the jobs of a sweep are forked.

Nothing here may start a thread or touch a GPU: a fork would inherit half of it.
"""

import importlib

MODULES = (
    "resetrl.run.loop",
    "resetrl.run.job",
    "resetrl.sweep.job",
    "cloudpickle",
    "transformers.models.llama.modeling_llama",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
)

for module in MODULES:
    importlib.import_module(module)
