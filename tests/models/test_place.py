import shutil

import pytest

from resetrl import tiny
from resetrl.errors import ModelError
from resetrl.models import ModelConfig, load_model


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("./nowhere", "does not exist: give the folder of a Hugging Face model"),
        ("builtin:large", "names no built-in model: use builtin:tiny"),
        ("package:absent_package/file.gguf", "absent_package is not installed"),
        ("package:json", "is not of the form package:NAME/FILE.gguf"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_the_remedy(path, message):
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(path=path))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"holds no config\.json"),
        ("model.safetensors", "holds no weights"),
    ],
)
def test_a_folder_that_lacks_a_file_says_which(tmp_path, missing, message):
    folder = shutil.copytree(tiny.folder(), tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(path=str(folder)))
