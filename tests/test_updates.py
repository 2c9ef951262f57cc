import dataclasses

import pytest

from resetrl.builtin.losses import SuffixMean
from resetrl.errors import TrainingError
from resetrl.meter import Work
from resetrl.method import Method, Session
from resetrl.testing import FakeTask, RecordingLearner, ScriptedPolicy, make_prompt, make_rollout
from resetrl.testing.fakes import FakeTokenizer
from resetrl.types import Group, Limits, Sampling, Update, Verdict
from resetrl.updates import Updates, mean_update, parts_of, train

PROMPTS = tuple(f"p{number}" for number in range(8))


def make_groups(prompts=PROMPTS):
    """Two groups a prompt, of 2 rollouts of 7 and 3 tokens each."""
    groups = []
    for uid in prompts:
        rollouts = tuple(
            make_rollout(thoughts, prompt=make_prompt(uid=uid)) for thoughts in (["3+4=7"], ["7"])
        )
        verdicts = (Verdict(1.0, True), Verdict(0.0, False))
        groups += [Group("base", rollouts, verdicts)] * 2
    return groups


def run_train(updates, learner, groups=None, step=1):
    task = FakeTask()
    method = Method(None, SuffixMean(), "none", False, True, Sampling(), Limits(), updates)
    session = Session(
        policy=ScriptedPolicy([]),
        learner=learner,
        verifier=task.verifier(),
        task=task,
        tokenizer=FakeTokenizer(),
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=0,
    )
    groups = make_groups() if groups is None else groups
    advantages = [list(group.rewards) for group in groups]
    return train(step, groups, advantages, method, session, Work())


def test_by_default_a_step_is_one_update_on_all_rollouts_in_their_order():
    learner = RecordingLearner()
    run_train(Updates(), learner)
    (batch,) = learner.batches
    assert batch.num_rollouts == 32
    assert batch.uids == tuple(uid for uid in PROMPTS for _ in range(4))


def test_mini_batches_part_the_prompts_and_count_their_own_rollouts_and_tokens():
    learner = RecordingLearner()
    run_train(Updates(mini_batches=4), learner)
    assert [batch.num_rollouts for batch in learner.batches] == [8, 8, 8, 8]
    assert [batch.num_loss_tokens for batch in learner.batches] == [2 * 2 * (6 + 2)] * 4
    parts = [set(batch.uids) for batch in learner.batches]
    assert [len(part) for part in parts] == [2, 2, 2, 2]
    assert set.union(*parts) == set(PROMPTS)


def test_every_epoch_passes_over_all_prompts_in_a_shuffle_of_its_own():
    parts = parts_of(1, PROMPTS, Updates(mini_batches=2, epochs=3), 0)
    assert len(parts) == 6
    for first, second in zip(parts[::2], parts[1::2], strict=True):
        assert first | second == set(PROMPTS)
        assert not first & second
    assert len(set(parts)) > 2


def test_the_shuffle_is_a_function_of_run_seed_and_step():
    updates = Updates(mini_batches=2)
    assert parts_of(1, PROMPTS, updates, 0) == parts_of(1, PROMPTS, updates, 0)
    others = [parts_of(step, PROMPTS, updates, seed) for step, seed in ((2, 0), (3, 0), (1, 1))]
    assert any(parts != parts_of(1, PROMPTS, updates, 0) for parts in others)


def test_uneven_parts_differ_by_one_prompt_at_most_and_none_is_empty():
    sizes = [len(part) for part in parts_of(1, PROMPTS[:5], Updates(mini_batches=2), 0)]
    assert sizes == [3, 2]
    assert len(parts_of(1, PROMPTS[:1], Updates(mini_batches=2), 0)) == 1


def test_the_record_of_several_updates_is_their_means_and_the_sum_of_their_tokens():
    total = mean_update(
        [
            Update(1.0, 2.0, {"learner/kl_to_old": 0.0, "once": 3.0}, 100, 100),
            Update(3.0, 4.0, {"learner/kl_to_old": 0.5}, 50, 50),
            Update(0.0, 0.0, {}, 0, 0),  # nothing to learn from
        ]
    )
    assert total == Update(
        loss=4 / 3,
        grad_norm=2.0,
        metrics={"learner/kl_to_old": 0.25, "once": 3.0, "learner/optimizer_steps": 2.0},
        learned_tokens=150,
        scored_tokens=150,
    )


@dataclasses.dataclass
class FailsAt(RecordingLearner):
    """Refuses one of its updates, as a learner does whose loss is not finite."""

    fails_at: int = 1

    def update(self, batch, loss):
        if len(self.batches) + 1 == self.fails_at:
            raise TrainingError("it is nan, so this optimizer step was not taken", loss)
        return super().update(batch, loss)


def test_a_first_update_that_is_refused_has_changed_nothing_and_says_no_more():
    with pytest.raises(TrainingError, match=r"was not taken$"):
        run_train(Updates(mini_batches=4), FailsAt(fails_at=1))


def test_a_later_update_that_is_refused_says_that_parameters_have_changed():
    sentence = (
        r"was not taken \(optimizer step 2 of 8 of training step 5; those before it have changed "
        r"the parameters: go on from a checkpoint\)"
    )
    with pytest.raises(TrainingError, match=sentence) as caught:
        run_train(Updates(mini_batches=4, epochs=2), FailsAt(fails_at=2), step=5)
    assert isinstance(caught.value.component, SuffixMean)


@pytest.mark.parametrize("options", [{"mini_batches": 0}, {"epochs": 0}])
def test_fewer_than_one_is_refused(options):
    with pytest.raises(ValueError, match="both must be at least 1"):
        Updates(**options)
