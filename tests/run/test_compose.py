import pytest

from resetrl.errors import ConfigError
from resetrl.plugins import load_plugins
from resetrl.run.build import build_method
from resetrl.run.compose import compose, config_hash, to_run_config


@pytest.fixture(scope="module")
def registry():
    return load_plugins()


def method_of(overrides, registry):
    return build_method(to_run_config(compose(overrides, registry)), registry)


@pytest.mark.parametrize(
    ("method", "selector", "sizes"),
    [
        ("srpo", "SelfLocalization", (4, (4,))),
        ("rrpo", "Uniform", (4, (4,))),
        ("oracle", "Oracle", (4, (4,))),
        ("grpo", "NoneType", (8, ())),
    ],
)
def test_the_methods_differ_in_their_components_only(registry, method, selector, sizes):
    built = method_of([f"method={method}"], registry)
    assert type(built.sampler.selector).__name__ == selector
    assert (built.sampler.split.base, built.sampler.split.resets) == sizes
    assert type(built.loss).__name__ == "SuffixMean"


def test_an_override_of_a_component_beats_the_method(registry):
    built = method_of(["method=srpo", "reset_selector=uniform", "split=2x4"], registry)
    assert type(built.sampler.selector).__name__ == "Uniform"
    assert built.sampler.split.resets == (4, 4)


def test_options_are_typed_and_reach_their_component(registry):
    built = method_of(
        ["reset_selector.temperature=0.5", "loss=clipped", "loss.aggregation=seq_mean_token_sum"],
        registry,
    )
    assert built.sampler.selector.temperature == 0.5
    assert built.loss.aggregation == "seq_mean_token_sum"


def test_a_split_of_ones_own_at_any_budget(registry):
    built = method_of(["budget=10", "split.base=2", "split.resets=[3,5]"], registry)
    assert (built.sampler.split.base, built.sampler.split.resets) == (2, (3, 5))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stepz=3"], r"stepz is no option of this run: did you mean steps\?"),
        (["learner.lrr=3"], r"learner.lrr is no option of this run: did you mean learner.lr\?"),
        (["reset_selector=unifrm"], r"reset_selector=unifrm is unknown: did you mean uniform\?"),
        (["method=ppo"], "method=ppo is unknown: .* grpo, oracle, rrpo, "),
        (["task=chian"], r"task=chian is unknown: did you mean chain\?"),
        (["steps=many"], "steps: Value 'many' of type 'str' could not be converted to Integer"),
        (["steps=0"], "steps is 0: choose at least 1"),
        (["sampling.top_p=0"], "top_p is 0.0: choose a value above 0 and at most 1"),
        (["sampling.temperature=0"], "greedy rollouts of a prompt are all alike"),
        (["learner.lr=-1"], "learner 'torch': lr is -1.0: choose a positive learning rate"),
        (
            ["loss=clipped", "loss.aggregation=mean"],
            "loss.aggregation is 'mean': choose token_mean",
        ),
        (["advantage=std"], "advantage is 'std': choose population_std"),
        (["seed_policy.choice=best"], "seed_policy.choice is 'best': choose independent or ref"),
        (["budget=6"], r"split 4 \+ 4 = 8 exceeds budget=6: set budget=8"),
        (["budget=12"], r"split 4 \+ 4 = 8 falls short of budget=12"),
        (["split.base=1"], "split '1x4': split .* base size must be 0 or at least 2"),
        (["reset_selector=null"], "reset_selector is null: choose "),
        (["split=grpo"], "reset_selector is set but the split has no reset group"),
        (["model=hf"], "model.path is empty: give a value"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_remedy(registry, overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config = to_run_config(compose(overrides, registry))
        build_method(config, registry)
        from resetrl.run.build import build_component

        build_component(registry, "learner", config.learner)
    assert "\n" not in str(caught.value)


def test_a_runs_identity_is_its_configuration_but_for_where_it_is_kept(registry):
    plain = config_hash(compose([], registry))
    assert config_hash(compose(["steps=7", "tracking.enabled=false"], registry)) == plain
    assert config_hash(compose(["seed=1"], registry)) != plain


def test_a_method_of_a_plugin_file_is_a_choice_as_any_other(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from resetrl.hookspecs import hookimpl\n\n"
        "@hookimpl\n"
        "def resetrl_methods():\n"
        "    defaults = [{'override /split': 'grpo'}, {'override /reset_selector': None}]\n"
        "    values = {'advantage': 'none', 'seed_policy': {'max_draws': '${budget}'}}\n"
        "    return {'mine': {'defaults': defaults, **values}}\n"
    )
    registry = load_plugins([tmp_path / "mine.py"])
    config = to_run_config(compose(["method=mine", "budget=9", "split.base=9"], registry))
    assert (config.method, config.advantage, config.reset_selector) == ("mine", "none", None)
    assert (config.split.name, config.seed_policy.max_draws) == ("grpo", 9)
    assert compose(["method=mine", "advantage=mean_only"], registry).advantage == "mean_only"
    with pytest.raises(ConfigError, match=r"method=mien is unknown: did you mean mine\?"):
        compose(["method=mien"], registry)


def test_a_component_of_a_plugin_file_is_typed_with_no_further_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from resetrl.hookspecs import hookimpl\n"
        "from resetrl.types import Selection\n\n"
        "@dataclass\n"
        "class Mine:\n"
        '    """Mine."""\n\n'
        "    depth: int = 1\n\n"
        "    def select(self, seeds, context):\n"
        "        return [Selection(self.depth, 'mine') for _ in seeds]\n\n"
        "@hookimpl\n"
        "def resetrl_reset_selectors():\n"
        "    return {'mine': Mine}\n"
    )
    registry = load_plugins([tmp_path / "mine.py"])
    built = method_of(["reset_selector=mine", "reset_selector.depth=2"], registry)
    assert built.sampler.selector.depth == 2
    with pytest.raises(ConfigError, match=r"reset_selector\.depth: Value 'deep'"):
        compose(["reset_selector=mine", "reset_selector.depth=deep"], registry)
