import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from searching import space_of

from resetrl.errors import ConfigError


@pytest.mark.parametrize(
    ("sweep", "dimension"),
    [
        ("interval(0,1)", FloatDistribution(0, 1)),
        ("tag(log, interval(1e-5,1e-3))", FloatDistribution(1e-5, 1e-3, log=True)),
        ("int(interval(1,5))", IntDistribution(1, 5)),
        ("tag(log, int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(3)", IntDistribution(0, 2)),
        ("range(1,9,3)", IntDistribution(1, 7, step=3)),
        ("range(5,0,-2)", IntDistribution(1, 5, step=2)),
        ("tag(log, range(1,9))", IntDistribution(1, 8, log=True)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("1x4,2x4", CategoricalDistribution(["1x4", "2x4"])),
        ("choice(1,0.5,true)", CategoricalDistribution([1, 0.5, True])),
        ("null,uniform", CategoricalDistribution(["null", "uniform"])),
        ("[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
        ("choice('a b',c)", CategoricalDistribution(["a\\ b", "c"])),
        ("shuffle(a,b,c)", CategoricalDistribution(["a", "b", "c"])),
    ],
)
def test_hydras_sweep_syntax_becomes_a_typed_distribution(sweep, dimension):
    assert space_of(f"key={sweep}").dimensions == {"key": dimension}


def test_a_trial_has_the_overrides_in_the_order_given_and_one_job_a_seed():
    space = space_of("b=1,2", "steps=40", "seed=range(2)", "+a=interval(0,1)", "~verifier")
    assert space.replicates == ["0", "1"]
    assert space.jobs({"b": 2, "+a": 0.5}) == [
        ["b=2", "steps=40", "+a=0.5", "~verifier", "seed=0"],
        ["b=2", "steps=40", "+a=0.5", "~verifier", "seed=1"],
    ]


def test_a_single_seed_is_an_override_like_any_other():
    assert space_of("b=1,2", "seed=7").jobs({"b": 1}) == [["b=1", "seed=7"]]


def test_a_later_override_of_a_key_replaces_an_earlier_one():
    assert space_of("a=1,2", "b=1,2", "a=3").jobs({"b": 1}) == [["a=3", "b=1"]]


@pytest.mark.parametrize("choice", ["'a b'", "a\\ b", "[1,2]", "'1'", "null"])
def test_a_choice_reaches_the_job_as_hydra_read_it(choice):
    space = space_of(f"key={choice},other")
    text = space.jobs({"key": space.dimensions["key"].choices[0]})[0][0]
    (there,) = OverridesParser.create().parse_overrides([text])
    (here,) = OverridesParser.create().parse_overrides([f"key={choice}"])
    assert there.value() == here.value()


def test_probes_name_every_choice_and_seed_once():
    space = space_of("a=x,y,z", "b=interval(2,3)", "seed=4,5")
    assert space.probes() == [
        ["a=x", "b=2.0", "seed=4"],
        ["a=x", "b=2.0", "seed=5"],
        ["a=y", "b=2.0", "seed=4"],
        ["a=z", "b=2.0", "seed=4"],
    ]


def test_a_grid_lists_ranges_and_choices():
    space = space_of("a=x,y", "b=range(1,6,2)", "c=range(0,0.5,0.1)")
    assert space.grid() == {"a": ["x", "y"], "b": [1, 3, 5], "c": [0.0, 0.1, 0.2, 0.3, 0.4]}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["steps=4"], "the search has no dimension: give one"),
        (["seed=0,1"], "seeds are replicates of each trial"),
        (["a=1,2", "seed=interval(0,9)"], "not a dimension; list them, for example seed=range(3)"),
        (["a=interval(1,0)"], "its end 0.0 lies below its start 1.0"),
        (["a=tag(log, interval(0,1))"], "a logarithmic interval starts above 0"),
        (["a=tag(log, range(1,9,2))"], "whole numbers from 1 on, step by step"),
        (["a=tag(log, choice(x,y))"], "the only tag is log, and that of an interval or a range"),
        (["a=tag(fast, interval(0,1))"], "the only tag is log"),
        (["a=range(1,1)"], "the range is empty"),
        (["a=x,y,x"], "names a choice twice"),
    ],
)
def test_what_is_no_space_is_refused_in_one_sentence(overrides, sentence):
    with pytest.raises(ConfigError) as refused:
        space_of(*overrides)
    assert sentence in str(refused.value)


def test_a_grid_has_no_interval():
    with pytest.raises(ConfigError, match=r"sampler=grid cannot list the values of a=interval"):
        space_of("a=interval(0,1)").grid()
