import pytest
from parity import case

from resetrl.analysis.signal import thought_signal, token_signal


def test_tokens_and_thoughts_are_pushed_as_the_reference_has_it():
    recorded = case("per_token_signal")
    given, expected = recorded["input"], recorded["expected"]
    mask = [bool(flag) for flag in given["suffix_mask"]]
    signal = token_signal(given["log_prob"], mask, given["adv"])
    assert signal == pytest.approx(expected["g"], abs=1e-6)
    means = [thought_signal(signal, mask, start, end) for start, end in given["boundaries"]]
    assert means == pytest.approx(expected["thought_means"], abs=1e-6)


def test_a_sure_token_and_a_masked_thought_are_not_pushed():
    assert token_signal([0.0, -1.0], [True, False], 2.0) == [0.0, 0.0]
    assert thought_signal([0.0, 0.5], [True, False], 1, 2) == 0.0
