from collections import Counter

import pytest
from parity import case

from resetrl.builtin.selectors import (
    FixedFraction,
    Last,
    Offset,
    Oracle,
    SelfLocalization,
    Uniform,
    read_reply,
)
from resetrl.errors import ConfigError
from resetrl.testing import FakeTask, ScriptedPolicy, make_context, make_prompt, make_rollout
from resetrl.testing.fakes import FakeTokenizer
from resetrl.types import Completion

TABLE = case("loc_parse_table")


def reply(text, stop="eos"):
    return Completion((), (), (), (), stop, text)


@pytest.mark.parametrize(
    ("given", "expected"), list(zip(TABLE["input"], TABLE["expected"], strict=True))
)
def test_replies_are_read_as_the_reference_reads_them(given, expected):
    assert read_reply(reply(given["text"]), given["n_steps"]).thought == expected


@pytest.mark.parametrize(
    ("text", "stop", "thought", "status"),
    [
        (r"so \boxed{3}", "eos", 3, "boxed"),
        (r"\boxed{0}", "eos", 1, "no_error"),
        ("The first error is in Step 4.", "eos", 4, "prose"),
        ("I cannot say", "eos", 1, "defaulted"),
        (r"\boxed{9}", "eos", 1, "defaulted"),
        ("Step 2 looks", "budget", 2, "truncated"),
        ("well", "budget", 1, "truncated"),
        (r"\boxed{2} and on and on", "budget", 2, "boxed"),
        (r"\boxed{2}, then \boxed{99} (Step 3)", "eos", 3, "prose"),
    ],
)
def test_the_status_says_how_a_reply_was_read(text, stop, thought, status):
    selection = read_reply(reply(text, stop), 5)
    assert (selection.thought, selection.status, selection.reply) == (thought, status, text)


def test_a_reply_that_says_nothing_goes_back_to_the_bare_prompt():
    # The reference reaches the same thought when its localization call raises.
    assert case("buf_1x4_loc_exception")["expected"]["prefix_thoughts"] == [0]
    policy = ScriptedPolicy([[""]])
    selections = SelfLocalization().select([make_rollout(["1", "2"])], make_context(policy))
    assert (selections[0].thought, selections[0].status) == (1, "defaulted")


def test_self_localization_asks_for_all_seeds_in_one_call_with_numbered_thoughts():
    policy = ScriptedPolicy([[r"\boxed{2}"], [r"\boxed{1}"]])
    seeds = [make_rollout(["3+4=7", "7*6=3", r"\boxed{3}"]), make_rollout(["3+4=8", r"\boxed{8}"])]
    selections = SelfLocalization().select(seeds, make_context(policy))
    assert [selection.thought for selection in selections] == [2, 1]
    asked = FakeTokenizer().decode(policy.requests[0].prompt_ids)
    assert asked == "?3+4*6\n1:3+4=7\n2:7*6=3\n3:\\boxed{3}\n#"
    assert policy.requests[0].sampling.temperature == 0.3
    assert policy.requests[0].limits.max_thoughts == 0


def test_the_prompt_shows_the_reference_answer_only_if_asked_to():
    seeds = [make_rollout(["a", "b"], prompt=make_prompt("q", "REF-42"))]
    for show in (False, True):
        policy = ScriptedPolicy([[r"\boxed{1}"]])
        selector = SelfLocalization(prompt="thoughts", show_reference=show)
        selector.select(seeds, make_context(policy))
        asked = FakeTokenizer().decode(policy.requests[0].prompt_ids)
        assert ("REF-42" in asked) == show
        assert "Step 1: a\nStep 2: b" in asked


def test_uniform_draws_every_thought_about_equally_often():
    seed = make_rollout(["a", "b", "c", "d"])
    chosen = Counter(
        Uniform().select([seed], make_context(rng_seed=i))[0].thought for i in range(2000)
    )
    assert sorted(chosen) == [1, 2, 3, 4]
    assert all(430 < count < 570 for count in chosen.values())  # 500 +- 3.6 standard deviations


def test_uniform_can_leave_out_the_bare_prompt_where_there_is_another_thought():
    contexts = [make_context(rng_seed=i) for i in range(100)]
    selector = Uniform(include_first=False)
    chosen = {selector.select([make_rollout(["a", "b", "c"])], c)[0].thought for c in contexts}
    assert chosen == {2, 3}
    assert selector.select([make_rollout(["a"])], contexts[0])[0].thought == 1


def test_the_short_prompt_asks_for_the_same_with_and_without_the_reference():
    seed = make_rollout(["a", "b"], prompt=make_prompt("q", "REF-42"))
    for show in (False, True):
        policy = ScriptedPolicy([[r"\boxed{1}"]])
        selector = SelfLocalization(prompt="short", show_reference=show)
        selector.select([seed], make_context(policy))
        asked = FakeTokenizer().decode(policy.requests[0].prompt_ids)
        assert asked.startswith("Problem: q\n\nStep 1: a\nStep 2: b\n")
        assert ("REF-42" in asked) == show
        assert asked.endswith("\\boxed{number}.\n")


def test_a_reference_that_the_prompt_would_not_show_is_refused_before_anything_is_generated():
    selector = SelfLocalization(prompt="tiny", show_reference=True)
    with pytest.raises(ConfigError, match="prompt 'tiny' has no place for a reference answer"):
        selector.select([], make_context())


def test_an_unknown_localization_prompt_is_refused_with_the_choices():
    selector = SelfLocalization(prompt="shrt", show_reference=True)
    with pytest.raises(ConfigError, match="prompt 'shrt': choose short, thoughts, tiny, or give"):
        selector.select([], make_context())


@pytest.mark.parametrize(
    ("depth", "thoughts"),
    [(0.0, [1, 1, 1, 1]), (0.5, [1, 2, 2, 3]), (0.25, [1, 1, 2, 2]), (1.0, [1, 2, 3, 4])],
)
def test_a_fixed_fraction_is_rounded_to_the_nearest_thought(depth, thoughts):
    seeds = [make_rollout(["a", "b", "c", "d"][:length]) for length in (1, 2, 3, 4)]
    selections = FixedFraction(depth).select(seeds, make_context())
    assert [selection.thought for selection in selections] == thoughts


def test_last_draws_the_last_thought_anew():
    seeds = [make_rollout(["a"]), make_rollout(["a", "b", "c"])]
    assert [s.thought for s in Last().select(seeds, make_context())] == [1, 3]


def test_an_offset_goes_back_further_than_the_selector_it_wraps_but_not_before_the_first():
    seeds = [make_rollout(["a", "b", "c!"]), make_rollout(["a", "b!"]), make_rollout(["a!"])]
    selections = Offset(Oracle(), by=2).select(seeds, make_context())
    assert [(s.thought, s.status) for s in selections] == [(1, "checked")] * 3
    assert [s.thought for s in Offset(Last()).select(seeds, make_context())] == [2, 1, 1]


def test_an_offset_keeps_the_reply_of_the_policy():
    policy = ScriptedPolicy([[r"\boxed{2}"]])
    (selection,) = Offset().select([make_rollout(["a", "b"])], make_context(policy))
    assert (selection.thought, selection.status, selection.reply) == (1, "boxed", "\\boxed{2}<eos>")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedFraction(1.5), "depth is 1.5: choose a value from 0 to 1"),
        (lambda: Offset(by=0), "by is 0: choose at least 1"),
        (lambda: Offset(of=None), "of is null: choose a selector"),
    ],
)
def test_selector_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_oracle_goes_back_to_the_first_wrong_thought():
    selections = Oracle().select(
        [make_rollout(["a", "b!", "c!"]), make_rollout(["a", "b"])], make_context()
    )
    assert [(s.thought, s.status) for s in selections] == [(2, "checked"), (2, "all_right")]


def test_the_oracle_refuses_a_task_without_step_checker_before_anything_is_generated():
    class Unchecked:
        problems = FakeTask.problems

    with pytest.raises(ConfigError, match="Unchecked has none: use task=chain"):
        Oracle().select([], make_context(task=Unchecked()))
