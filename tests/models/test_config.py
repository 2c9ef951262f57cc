import pytest

from resetrl.models import ModelConfig


def test_a_configuration_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"model\.dtype is 'float8': choose float32 or bfloat16"):
        ModelConfig(dtype="float8")
    with pytest.raises(ValueError, match=r"model\.path is empty"):
        ModelConfig(path="")
