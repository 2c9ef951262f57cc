import dataclasses

import parity
import pytest

from resetrl.evaluate.acceptance import read_acceptance
from resetrl.testing import make_completion


def reply(text, stop="eos"):
    return dataclasses.replace(make_completion(["x"]), text=text, stop=stop)


def test_replies_are_read_as_the_reference_reads_them_but_for_its_slip():
    case = parity.case("verifier_parse_table")
    accepted = {text: read_acceptance(reply(text)).accepted for text in case["input"]}
    reference = {
        text: bool(said) for text, said in zip(case["input"], case["expected"], strict=True)
    }
    # The reference searches the box for "yes" anywhere in it; "Notyes" is not yes.
    assert reference.pop("\\boxed{Notyes}") is True
    assert accepted.pop("\\boxed{Notyes}") is False
    assert accepted == reference


@pytest.mark.parametrize(
    ("text", "accepted", "status"),
    [
        ("Step 1 is right.\n\\boxed{yes}", True, "boxed"),
        ("\\boxed{\\text{Yes}.}<|im_end|>", True, "boxed"),
        ("\\boxed{NO}", False, "boxed"),
        ("\\boxed{yes} and on reflection \\boxed{no}", False, "boxed"),
        ("\\boxed{yes, no}", False, "unreadable"),
        ("\\boxed{42} Yes.", True, "prose"),
        ("Yes, there is no error", True, "prose"),
        ("Step 2 is wrong, so no", False, "prose"),
        ("Is it right? Yes<|im_end|>", True, "prose"),
        ("**Yes**\nbecause", True, "prose"),
        ("There is no error in it", False, "unreadable"),
        ("nothing wrong", False, "unreadable"),
        ("eyes. now.", False, "unreadable"),
        ("", False, "unreadable"),
    ],
)
def test_a_reply_is_yes_only_if_it_says_so(text, accepted, status):
    said = read_acceptance(reply(text))
    assert (said.accepted, said.status, said.reply) == (accepted, status, text)


def test_a_reply_cut_off_before_its_box_accepts_nothing():
    said = read_acceptance(reply("Step 1: yes, it is right.\nStep 2: yes,", stop="budget"))
    assert (said.accepted, said.status) == (False, "truncated")


def test_a_reply_cut_off_behind_its_box_counts():
    assert read_acceptance(reply("\\boxed{yes} and", stop="budget")).accepted
