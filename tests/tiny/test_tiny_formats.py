"""What the tiny policy reads and writes, and the examples it learned from."""

from __future__ import annotations

from random import Random

from resetrl.builtin.chain import (
    facts_of,
    first_wrong,
    hard_facts,
    purpose_of,
    result_of,
    right_thoughts,
)
from resetrl.tiny import formats
from resetrl.tiny.data import (
    Example,
    Habits,
    draw_completion,
    draw_examples,
    draw_localization,
    habitual_value,
    localization_example,
    write_thoughts,
)

THOUGHTS = ["3+4=7", "7*6=3", "\\boxed{3}"]


def test_formats_are_literal() -> None:
    assert formats.completion_prompt("3+4*6") == "3+4*6\n"
    assert formats.completion(THOUGHTS) == "3+4=7</thought>7*6=3</thought>\\boxed{3}</thought>"
    assert (
        formats.localization_prompt("3+4*6", THOUGHTS)
        == "?3+4*6\n1:3+4=7\n2:7*6=3\n3:\\boxed{3}\n#"
    )
    assert formats.localization_reply(THOUGHTS, 2) == "1:3+4=7.\n2:7*6=3!\n\\boxed{2}"
    assert formats.localization_reply(THOUGHTS, 1) == "1:3+4=7!\n\\boxed{1}"


def test_a_localization_is_marked_by_the_truth() -> None:
    assert localization_example("3+4*6", THOUGHTS) == Example(
        "?3+4*6\n1:3+4=7\n2:7*6=3\n3:\\boxed{3}\n#", "1:3+4=7.\n2:7*6=3!\n\\boxed{2}<eos>"
    )


def test_there_is_no_localization_of_a_right_answer() -> None:
    assert localization_example("3+4*6", ["3+4=7", "7*6=2", "\\boxed{2}"]) is None
    lucky = ["3+4=9", "9*6=2", "\\boxed{2}"]
    assert localization_example("3+4*6", lucky) is None
    assert localization_example("3+4*6", ["3+4=7"]) is None  # nothing in it is wrong


def test_habits_decide_what_is_written() -> None:
    rng = Random(0)
    always_right = Habits(hard_right=1.0, hard_habit=0.0)
    assert write_thoughts("7*7+4", always_right, rng) == ["7*7=9", "9+4=3", "\\boxed{3}"]
    always_habitual = Habits(hard_right=0.0, hard_habit=1.0)
    assert habitual_value("7*7") == 4
    assert write_thoughts("7*7+4", always_habitual, rng) == ["7*7=4", "4+4=8", "\\boxed{8}"]


def test_habits_are_wrong_values() -> None:
    assert all(habitual_value(fact) != result_of(fact) for fact in hard_facts())


def test_the_starting_policy_is_wrong_on_hard_facts_only() -> None:
    rng = Random(1)
    for _ in range(200):
        example = draw_completion(rng, 0.0)
        question = example.prompt.rstrip("\n")
        assert purpose_of(question) == "train"
        thoughts = example.reply.split("</thought>")[:-1]
        wrong = first_wrong(question, thoughts)
        if wrong is not None:
            assert facts_of(question)[wrong - 1] in hard_facts()
    hard = [write_thoughts("7*7", Habits(), rng)[0] for _ in range(4000)]
    assert 0.33 < hard.count("7*7=9") / 4000 < 0.39  # 35 % and a tenth of the last 10 %
    assert 0.53 < hard.count("7*7=4") / 4000 < 0.59


def test_localizations_are_of_wrong_answers_and_end_at_the_first_wrong_thought() -> None:
    rng = Random(2)
    for _ in range(200):
        example = draw_localization(rng, drifted_share=0.5, long_share=0.1)
        question, *numbered = example.prompt[1:-2].split("\n")
        thoughts = [line.split(":", 1)[1] for line in numbered]
        assert purpose_of(question) == "train"
        assert thoughts[-1] != right_thoughts(question)[-1]
        wrong = first_wrong(question, thoughts)
        assert wrong is not None
        assert example.reply == formats.localization_reply(thoughts, wrong) + "<eos>"


def test_a_step_holds_the_asked_share_of_localizations() -> None:
    examples = list(draw_examples(Random(0), 8, 0.5, 0.5, 0.0))
    assert [example.prompt[0] == "?" for example in examples] == [True] * 4 + [False] * 4
