import dataclasses

import pytest
from omegaconf import OmegaConf

from resetrl.builtin.losses import Clipped
from resetrl.builtin.selectors import Last, Offset, SelfLocalization, Uniform
from resetrl.errors import ConfigError, PluginError
from resetrl.plugins import load_plugins
from resetrl.run.build import build_method
from resetrl.run.compose import compose, config_hash, load_config, save_config, to_run_config
from resetrl.run.config import config_dir


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


@pytest.mark.parametrize("split", ["2x4", "1x8"])
def test_another_split_changes_nothing_but_the_split(registry, split):
    """Where the released code also binarises rewards and localizes at temperature 0."""
    one_by_four = method_of(["method=paper_srpo"], registry)
    other = method_of(["method=paper_srpo", f"split={split}"], registry)
    sampler = dataclasses.replace(other.sampler, split=one_by_four.sampler.split)
    assert other != one_by_four
    assert dataclasses.replace(other, sampler=sampler) == one_by_four


def test_every_shipped_method_composes_and_builds(registry):
    names = sorted(path.stem for path in (config_dir() / "method").glob("*.yaml"))
    assert {"srpo_clip", "srpo_nomask", "drgrpo", "paper_srpo_clip"} <= set(names)
    for name in names:
        config = compose([f"method={name}"], registry)
        assert config.method == name
        build_method(to_run_config(config), registry)


def test_the_ablations_change_one_thing_each(registry):
    srpo = method_of(["method=srpo"], registry)
    clip, nomask = (
        method_of([f"method={name}"], registry) for name in ("srpo_clip", "srpo_nomask")
    )
    assert clip == dataclasses.replace(srpo, loss=Clipped())
    assert nomask == dataclasses.replace(srpo, mask_prefix=False)
    paper = method_of(["method=paper_srpo"], registry)
    assert method_of(["method=paper_srpo_clip"], registry) == dataclasses.replace(
        paper, loss=Clipped()
    )
    assert method_of(["method=paper_srpo_nomask"], registry) == dataclasses.replace(
        paper, mask_prefix=False
    )


def test_dr_grpo_sums_tokens_over_the_length_limit_and_divides_by_no_deviation(registry):
    built = method_of(["method=drgrpo", "limits.max_completion_len=300"], registry)
    assert built.advantage == "mean_only"
    assert (built.loss.aggregation, built.loss.fixed_length) == ("seq_mean_token_sum_norm", 300)


PAPER = {
    "model.path": "allenai/OLMo-3-7B-Instruct",
    "model.chat": False,
    "model.prompt": "thoughts",
    "model.lora": {"rank": 64, "alpha": 64, "target": "all-linear"},
    "prompts_per_step": 32,
    "steps": 24,
    "budget": 8,
    "seed_policy.max_draws": 12,
    "sampling": {"temperature": 0.7, "top_p": 0.95},
    "limits": {"max_thoughts": 20, "max_thought_len": 256, "max_completion_len": 5120},
    "updates": {"mini_batches": 1, "epochs": 1},
    "learner.lr": 5e-5,
    "learner.weight_decay": 0.01,
    "learner.beta1": 0.9,
    "learner.beta2": 0.999,
    "learner.max_grad_norm": 1.0,
    "evaluation.temperature": 0.0,
    "loss.kl": 0.0,
    "binarise_rewards": False,
}
OF_METHOD = {
    "paper_srpo": {
        "advantage": "population_std",
        "loss.name": "suffix_mean",
        "split": {"name": "1x4", "base": 4, "resets": [4]},
        "reset_selector.show_reference": False,
        "reset_selector.temperature": 0.3,
        "reset_selector.max_reply_len": 4096,
    },
    "paper_rrpo": {
        "advantage": "population_std",
        "loss.name": "suffix_mean",
        "split": {"name": "1x4", "base": 4, "resets": [4]},
        "reset_selector": {"name": "uniform", "include_first": True},
    },
    "paper_grpo": {
        "advantage": "sample_std",
        "loss.name": "clipped",
        "loss.clip_low": 0.2,
        "loss.clip_high": 0.2,
        "loss.dual_clip": 3.0,
        "loss.aggregation": "token_mean",
        "split": {"name": "grpo", "base": 8, "resets": []},
    },
}


@pytest.mark.parametrize("method", OF_METHOD)
def test_the_papers_settings_are_the_papers(registry, method):
    config = compose([f"method={method}"], registry)
    expected = {**PAPER, **OF_METHOD[method]}
    assert {key: OmegaConf.select(config, key) for key in expected} == expected


def test_the_papers_other_model_keeps_its_settings(registry):
    config = compose(["method=paper_srpo", "model=qwen25_14b"], registry)
    assert config.model.path == "Qwen/Qwen2.5-14B-Instruct"
    assert config.limits.max_completion_len == 5120
    assert config.model.lora.rank == 64


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
        (["task=true"], "task=true is unknown: choose acereason_math, chain, "),
        (["limits=8"], "limits is a group of options and cannot be 8: set limits.max_thoughts, "),
        (["reset_selector=unifrm"], r"reset_selector=unifrm is unknown: did you mean uniform\?"),
        (["method=xyz"], "method=xyz is unknown: choose .*drgrpo, grpo, oracle, "),
        (["model=tini"], r"model=tini is unknown: did you mean tiny\? Choose hf, .*, tiny$"),
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
        (["updates.epochs=0"], "updates.mini_batches=1, epochs=0: both must be at least 1"),
        (
            ["updates.mini_batches=17"],
            "updates.mini_batches is 17 but prompts_per_step=16: a mini-batch needs a prompt",
        ),
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


def test_a_component_inside_another_is_chosen_and_typed_as_any_other(registry):
    wrapped = method_of(["reset_selector=offset"], registry).sampler.selector
    assert wrapped == Offset(SelfLocalization(), by=1)
    chosen = ["reset_selector=offset", "reset_selector.by=3", "reset_selector/of=uniform"]
    wrapped = method_of([*chosen, "reset_selector.of.include_first=false"], registry)
    assert wrapped.sampler.selector == Offset(Uniform(include_first=False), by=3)


def test_a_stored_configuration_with_a_component_inside_another_is_read_again(registry, tmp_path):
    config = compose(["reset_selector=offset", "reset_selector/of=last"], registry)
    save_config(config, tmp_path)
    stored = load_config(tmp_path, [])
    assert config_hash(stored) == config_hash(config)
    assert build_method(to_run_config(stored), registry).sampler.selector == Offset(Last())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "reset_selector/of=unifrm",
            r"reset_selector/of=unifrm is unknown: did you mean uniform\? Choose fixed_fraction",
        ),
        ("reset_selector/of=offset", "reset_selector/of=offset is unknown: choose fixed_fraction"),
        ("reset_selector.of.prmpt=a", r"did you mean reset_selector.of.prompt\?"),
        ("reset_selector.of.max_reply_len=long", "reset_selector.of.max_reply_len: Value 'long'"),
        ("reset_selector.of.temperature=-1", "'self_localization': temperature is -1.0"),
        ("reset_selector.of=uniform", "is no component: choose it by reset_selector/of=NAME"),
        ("reset_selector/of=null", "of is null: choose a selector"),
    ],
)
def test_what_is_wrong_inside_a_component_inside_another_is_named(registry, override, message):
    with pytest.raises(ConfigError, match=message):
        method_of(["reset_selector=offset", override], registry)


def test_a_plugins_component_may_hold_another(tmp_path):
    code = """
from dataclasses import dataclass, field

from resetrl.builtin.selectors import {default}
from resetrl.hookspecs import hookimpl
from resetrl.interfaces import ResetSelector


@dataclass
class Every:
    inner: ResetSelector = field(default_factory=lambda: {default}({options}))

    def select(self, seeds, context):
        return self.inner.select(seeds, context)


@hookimpl
def resetrl_reset_selectors():
    return {{"every": Every}}
"""
    (tmp_path / "mine.py").write_text(code.format(default="Uniform", options=""))
    registry = load_plugins([tmp_path / "mine.py"])
    selector = method_of(["reset_selector=every", "reset_selector/inner=last"], registry)
    assert selector.sampler.selector.inner == Last()
    (tmp_path / "other.py").write_text(code.format(default="Uniform", options="False"))
    registry = load_plugins([tmp_path / "other.py"])
    with pytest.raises(
        PluginError, match=r"'every' of .*other.py\): its option 'inner' is Uniform"
    ):
        method_of(["reset_selector=every"], registry)


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
