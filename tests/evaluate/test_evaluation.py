import dataclasses
import json

import pytest
from asking import LIMITS, CountingPolicy, boxed, make_inference, make_maker, question_of

from resetrl.errors import ConfigError, ResetrlError
from resetrl.evaluate.answers import AnswerFile
from resetrl.evaluate.evaluation import Evaluator
from resetrl.evaluate.suite import LabelledTask
from resetrl.meter import Meter
from resetrl.testing import FakeTask, make_problems
from resetrl.types import Problem, Sampling

PROBLEMS = make_problems(5, "eval")  # 0+2, 1+2, 2+2, 3+2, 4+2


def answers(request):
    """Greedy answers are right; of sampled ones every other by chance."""
    right = eval(question_of(request))
    wrong = 0 if request.sampling.temperature == 0 else request.rng_seed % 2
    return [question_of(request), boxed(right + wrong)]


def evaluator(samples=2, chunk=6, context_len=4096):
    return Evaluator(make_maker(context_len), Sampling(), LIMITS, samples, chunk)


def evaluate(path, policy=None, problems=PROBLEMS, count=None, told=None, **options):
    policy = policy or CountingPolicy(answers)
    task = LabelledTask("sums", FakeTask(), problems, count or len(problems))
    told = [] if told is None else told
    return evaluator(**options).evaluate(
        task,
        make_inference(policy),
        Meter(policy.counters, 0),
        AnswerFile(path),
        told.append,
    )


def test_each_problem_is_answered_once_greedily_and_by_so_many_samples(tmp_path):
    done = evaluate(tmp_path / "a.jsonl")
    assert [problem.uid for problem in done] == [f"eval-{i}" for i in range(5)]
    assert [problem.greedy.extracted for problem in done] == ["2", "3", "4", "5", "6"]
    assert all(problem.greedy.correct and len(problem.samples) == 2 for problem in done)
    # 0+2 and its delimiter are 4 tokens, the opening of a box is 1, "2}" and the delimiter 3.
    assert (done[0].greedy.tokens, done[0].greedy.thoughts, done[0].greedy.stop) == (8, 2, "answer")


def test_a_chunk_is_one_call_of_the_engine_and_tells_of_its_problems(tmp_path):
    policy, told = CountingPolicy(answers), []
    evaluate(tmp_path / "a.jsonl", policy, told=told)
    # 6 requests at once are 2 problems with a greedy and two sampled answers each.
    assert policy.calls == [6, 6, 3]
    assert told == [0, 2, 2, 1]


def test_answers_do_not_depend_on_the_chunk(tmp_path):
    whole = evaluate(tmp_path / "a.jsonl", chunk=1000)
    parts = evaluate(tmp_path / "b.jsonl", chunk=1)
    assert without_seconds(whole) == without_seconds(parts)


def without_seconds(problems):
    return [dataclasses.replace(problem, seconds=0.0) for problem in problems]


def test_a_second_start_asks_nothing_again(tmp_path):
    first = evaluate(tmp_path / "a.jsonl")
    policy = CountingPolicy(answers)
    assert evaluate(tmp_path / "a.jsonl", policy) == first
    assert policy.calls == []


def test_a_start_after_a_kill_goes_on_behind_the_last_whole_line(tmp_path):
    whole = evaluate(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:20])
    policy, told = CountingPolicy(answers), []
    assert without_seconds(evaluate(tmp_path / "b.jsonl", policy, told=told)) == without_seconds(
        whole
    )
    assert (policy.calls, told) == ([6], [3, 2])
    assert len((tmp_path / "b.jsonl").read_bytes().splitlines()) == 5


def test_more_problems_go_on_behind_fewer(tmp_path):
    evaluate(tmp_path / "a.jsonl", count=2)
    policy = CountingPolicy(answers)
    assert len(evaluate(tmp_path / "a.jsonl", policy)) == 5
    assert sum(policy.calls) == 9


def test_a_damaged_line_is_named(tmp_path):
    evaluate(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    row = json.loads(lines[1])
    del row["greedy"]
    lines[1] = json.dumps(row)
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ResetrlError, match=r"a\.jsonl is damaged in line 2 .*greedy"):
        evaluate(tmp_path / "a.jsonl")


def test_answers_to_other_problems_are_refused(tmp_path):
    evaluate(tmp_path / "a.jsonl")
    others = make_problems(5, "train")
    with pytest.raises(ConfigError, match=r"holds other problems than sums .*line 1 is eval-0"):
        evaluate(tmp_path / "a.jsonl", problems=others)


def test_two_problems_of_one_uid_are_refused(tmp_path):
    problems = (Problem("same", "1+1", "2"), Problem("same", "2+2", "4"))
    with pytest.raises(ConfigError, match="sums has two problems with the uid same"):
        evaluate(tmp_path / "a.jsonl", problems=problems)


def test_a_prompt_too_long_for_the_context_counts_as_a_missing_answer(tmp_path):
    problems = (Problem("short", "1+1", "2"), Problem("long", "+".join("1" * 30), "30"))
    policy = CountingPolicy(answers)
    short, long = evaluate(tmp_path / "a.jsonl", policy, problems, context_len=60)
    assert short.greedy.correct
    assert [answer.stop for answer in (long.greedy, *long.samples)] == ["too_long"] * 3
    assert (long.greedy.extracted, long.greedy.correct, long.greedy.tokens) == (None, False, 0)
    assert policy.calls == [3]
