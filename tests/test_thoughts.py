import pytest
from parity import case, case_ids

from resetrl.thoughts import CompletionBuilder, last_boxed
from resetrl.types import Completion, Limits, Prefix

EOS = frozenset({0})


class Words:
    """Word-level pieces: the id of a word is its place in the vocabulary met so far."""

    def __init__(self):
        self.words = ["<|im_end|>"]

    def encode(self, text):
        ids = []
        for word in text.split():
            if word not in self.words:
                self.words.append(word)
            ids.append(self.words.index(word))
        return ids

    def __getitem__(self, token_id):
        return self.words[token_id]


def generate(script, *, resp=20, mtpt=10, max_thoughts=20, prefix=()) -> Completion:
    """The completion of an engine that returns the scripted thoughts, one a call."""
    words = Words()
    ids = [words.encode(thought) for thought in prefix]
    ends = [sum(map(len, ids[: i + 1])) for i in range(len(ids))]
    flat = tuple(token for thought in ids for token in thought)
    builder = CompletionBuilder(
        Limits(max_thoughts, mtpt, resp),
        "</thought>",
        EOS,
        room=1000,
        prefix=Prefix(flat, (0.0,) * len(flat), tuple(ends)),
    )
    for text in script:
        token_ids = words.encode(text)
        pieces = [words[token_id] for token_id in token_ids]
        if builder.stop or builder.push_thought(token_ids, [-1.0] * len(token_ids), pieces):
            break
    return builder.completion(words)


@pytest.mark.parametrize("case_id", case_ids("thought_generation", "parity"))
def test_thought_generation_equals_the_reference(case_id):
    recorded = case(case_id)
    given, expected = recorded["input"], recorded["expected"]
    options = {k: v for k, v in given.items() if k in ("resp", "mtpt", "max_thoughts", "prefix")}
    completion = generate(given["script"], **options)
    starts = [0, *completion.thought_ends][: len(completion.thought_ends)]
    bounds = [list(pair) for pair in zip(starts, completion.thought_ends, strict=True)]
    assert bounds == expected["boundaries"]
    assert len(completion.token_ids) == expected["response_len"]
    assert len(completion.logprobs) == expected["n_logprobs"]
    assert len(completion.thoughts) == expected["num_thoughts"]


def test_a_completion_ends_at_eos_where_the_reference_goes_on():
    completion = generate(case("tg_eos_continues")["input"]["script"])
    assert completion.stop == "eos"
    assert len(completion.token_ids) == 2  # "a" and EOS; the reference went on to 5 tokens
    assert completion.thought_ends == (1,)


def test_a_dropped_answer_is_no_answer():
    given = case("tg_safety_truncation")["input"]
    completion = generate(given["script"], resp=given["resp"], mtpt=given["mtpt"])
    assert completion.stop == "budget"  # the reference still reports an answer
    assert completion.thoughts == ("ab</thought>",)


def test_an_unclosed_box_ends_the_completion_and_is_no_answer():
    completion = generate(case("tg_boxed_open_only")["input"]["script"])
    assert completion.thoughts == ("x\\boxed{12",)
    assert last_boxed(completion.text) is None


def push_all(builder, tokens):
    """Push (id, piece) pairs until the builder is full; returns how many it took."""
    for count, (token_id, piece) in enumerate(tokens, start=1):
        if builder.push(token_id, -0.25, piece):
            return count
    return len(tokens)


def test_a_delimiter_spread_over_tokens_ends_the_thought_at_its_last_token():
    builder = CompletionBuilder(Limits(20, 8, 32), "</thought>", EOS, room=100)
    pieces = ["a", "</", "thou", "ght", ">\n", "b", "\\boxed{", "4", "}", "</thought>"]
    assert push_all(builder, list(enumerate(pieces, start=1))) == 10
    assert builder.thought_ends == [5, 10]
    assert builder.stop == "answer"
    assert builder.fragments == 0


def test_a_thought_without_delimiter_is_cut_at_its_limit_and_is_a_fragment():
    builder = CompletionBuilder(Limits(20, 3, 9), "</thought>", EOS, room=100)
    tokens = [(i + 1, "w") for i in range(20)]
    assert push_all(builder, tokens) == 9  # the fourth thought of up to 3 tokens would not fit
    assert builder.thought_ends == [3, 6, 9]
    assert (builder.stop, builder.fragments) == ("budget", 3)


def test_a_delimiter_begun_in_a_fragment_does_not_close_the_next_thought():
    builder = CompletionBuilder(Limits(20, 2, 100), "</thought>", EOS, room=100)
    push_all(builder, [(1, "a"), (2, "</thou"), (3, "ght>"), (4, "b")])
    assert builder.thought_ends == [2, 4]
    assert builder.fragments == 2


def test_eos_closes_an_open_thought_and_belongs_to_none():
    builder = CompletionBuilder(Limits(), "</thought>", EOS, room=10000)
    assert push_all(builder, [(1, "a"), (2, "</thought>"), (3, "b"), (0, "<|im_end|>")]) == 4
    assert builder.thought_ends == [2, 3]
    assert builder.stop == "eos"


def test_eos_behind_a_boundary_adds_no_thought():
    builder = CompletionBuilder(Limits(), "</thought>", EOS, room=10000)
    push_all(builder, [(1, "a"), (2, "</thought>"), (0, "<|im_end|>")])
    assert builder.thought_ends == [2]


def test_an_answer_closed_by_eos_is_an_answer():
    builder = CompletionBuilder(Limits(), "</thought>", EOS, room=10000)
    push_all(builder, [(1, "\\boxed{"), (2, "3}"), (0, "<|im_end|>")])
    assert builder.stop == "answer"


def test_prefix_thoughts_and_tokens_count_towards_the_limits():
    prefix = Prefix((5, 6, 7, 8), (-0.1,) * 4, (2, 4))
    builder = CompletionBuilder(Limits(3, 4, 100), "</thought>", EOS, 1000, prefix)
    assert push_all(builder, [(1, "a"), (2, "</thought>"), (3, "b")]) == 2
    assert builder.stop == "max_thoughts"
    full = CompletionBuilder(Limits(20, 4, 7), "</thought>", EOS, 1000, prefix)
    assert full.stop == "budget"  # 4 tokens and a thought of up to 4 exceed 7


def test_the_context_limits_a_completion_as_its_budget_does():
    builder = CompletionBuilder(Limits(20, 4, 100), "</thought>", EOS, room=6)
    assert push_all(builder, [(i, "w") for i in range(1, 20)]) == 4
    assert builder.stop == "budget"


def test_a_reply_has_no_thoughts_and_ends_at_eos_or_its_limit():
    reply = CompletionBuilder(Limits(0, 1, 4), "</thought>", EOS, room=100)
    assert push_all(reply, [(1, "a"), (2, "</thought>"), (0, "<|im_end|>")]) == 3
    assert (reply.stop, reply.thought_ends) == ("eos", [])
    cut = CompletionBuilder(Limits(0, 1, 4), "</thought>", EOS, room=100)
    assert push_all(cut, [(1, "a")] * 9) == 4
    assert cut.stop == "budget"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{1} \boxed{\frac{a}{b}}", r"\frac{a}{b}"),
        (r"\boxed{1", None),
        ("none", None),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{}", ""),
        (r"\fbox{3}", None),
    ],
)
def test_the_last_closed_box_counts(text, content):
    assert last_boxed(text) == content
