import pytest

from resetrl.errors import ModelError
from resetrl.models import ModelConfig, load_model


def test_a_model_that_cannot_write_the_delimiter_is_refused():
    with pytest.raises(ModelError) as caught:
        load_model(ModelConfig(delimiter="§stop§"))
    assert "§stop§" in str(caught.value)
    assert "\n" not in str(caught.value)
