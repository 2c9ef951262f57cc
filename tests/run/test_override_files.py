import pytest

from resetrl.errors import ConfigError
from resetrl.run.override_files import expand


def test_a_file_stands_for_the_overrides_it_lists(tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text("# the best\n- learner.lr=1e-4\n- split=2x4\n")
    assert expand(["steps=3", f"@{file}", "seed=1"]) == [
        "steps=3",
        "learner.lr=1e-4",
        "split=2x4",
        "seed=1",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("learner.lr: 1e-4\n", "holds no list of overrides: write lines such as - seed=1"),
        ("- seed: 1\n", "holds no list of overrides"),
        ("- [", "is no YAML"),
    ],
)
def test_a_file_that_lists_no_overrides_is_refused(tmp_path, content, sentence):
    file = tmp_path / "best.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        expand([f"@{file}"])
    assert sentence in str(refused.value)


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"@absent.yaml cannot be read \(No such file"):
        expand(["@absent.yaml"])
