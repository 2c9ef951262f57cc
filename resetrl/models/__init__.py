"""Models and their tokenizers: the built-in tiny one, a folder's, a package's or the hub's.

config   `ModelConfig`, which model to train and how it is asked
place    where a model lies, and what is missing there
loading  `load_model`, from the files to parameters and tokenizer
checks   what the method asks of both

Every way in which a model may be unusable is answered with one sentence before the first token
is drawn: a missing folder, missing files, a tokenizer that cannot write `</thought>` or
`\\boxed{`, no end-of-sequence token, a context too short for a prompt and a thought.
"""

from resetrl.models.config import ModelConfig
from resetrl.models.loading import LoadedModel, load_model, read_config

__all__ = ["LoadedModel", "ModelConfig", "load_model", "read_config"]
