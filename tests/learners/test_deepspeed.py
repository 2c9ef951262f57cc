"""The DeepSpeed learner against the one-process one, in this process and in two others."""

import dataclasses
import json

import pytest
import torch
import zero_ranks
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from resetrl.builtin.learners import DeepSpeed, Torch
from resetrl.builtin.losses import SuffixMean
from resetrl.errors import CheckpointError, ConfigError
from resetrl.lora import Lora, adapt
from resetrl.testing import check_learner, random_llama
from resetrl.testing.contracts.learner import sample_batch

pytest.importorskip("deepspeed")

STAGES = (0, 1, 2, 3)


def adapted_llama(rng_seed=0):
    return adapt(random_llama(), Lora(rank=4, alpha=8), base="random", rng_seed=rng_seed)


@pytest.fixture(scope="module", autouse=True)
def linear():
    """Stage 3 puts a slower function in the place of torch's, for all that comes after."""
    before = torch.nn.functional.linear
    yield
    torch.nn.functional.linear = before


@pytest.fixture(scope="module")
def expected():
    """Losses, norms and parameters of the one-process learner on whole batches."""
    learner = Torch(**zero_ranks.OPTIONS).start(random_llama())
    losses, norms = zero_ranks.train(learner, range(5))
    return losses, norms, zero_ranks.vector(learner)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What two processes did, and where they left their checkpoints."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(zero_ranks.run, (str(folder),), nprocs=2)
    return folder, json.loads((folder / "report.json").read_text())


def close(one, other):
    return torch.allclose(torch.as_tensor(one), torch.as_tensor(other), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stage", STAGES[1:])  # the first is among all registered components
def test_every_stage_passes_the_contract_of_learners(stage):
    check_learner(DeepSpeed(stage=stage))


@pytest.mark.parametrize("stage", STAGES)
def test_one_process_learns_what_the_torch_learner_learns(stage, expected):
    losses, norms, weights = expected
    learner = DeepSpeed(stage=stage, **zero_ranks.OPTIONS).start(random_llama())
    ours = zero_ranks.train(learner, range(5))
    assert close(ours[0], losses) and close(ours[1], norms)
    assert close(zero_ranks.vector(learner), weights)


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_with_a_part_each_learn_what_one_learns_from_all(stage, expected, two_ranks):
    losses, norms, weights = expected
    folder, report = two_ranks
    assert close(report[str(stage)]["losses"], losses)
    assert close(report[str(stage)]["norms"], norms)
    assert close(torch.load(folder / f"weights{stage}.pt"), weights)


@pytest.mark.parametrize("stage", STAGES)
def test_another_stage_goes_on_from_a_checkpoint_of_two_processes(stage, two_ranks):
    assert two_ranks[1][str(stage)]["gap_of_other_stage"] < 1e-6


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_not_finite_on_one_rank_is_refused_on_all_with_its_prompt(stage, two_ranks):
    message = two_ranks[1][str(stage)]["refused"]
    assert message.startswith("loss _Broken: it or its gradient is not finite")
    assert message.endswith("look at the rollouts of these prompts: problem-4")


@pytest.mark.parametrize("spec", [Torch(**zero_ranks.OPTIONS), DeepSpeed(stage=2)])
def test_one_process_goes_on_from_a_checkpoint_of_two(spec, two_ranks, expected):
    spec = dataclasses.replace(spec, **zero_ranks.OPTIONS)
    learner = spec.start(random_llama(rng_seed=1))
    learner.load(two_ranks[0] / "stage3")
    assert close(zero_ranks.vector(learner), expected[2])
    uninterrupted = Torch(**zero_ranks.OPTIONS).start(random_llama())
    for each, steps in ((learner, [7]), (uninterrupted, [*range(5), 7])):
        zero_ranks.train(each, steps)
    assert close(zero_ranks.vector(learner), zero_ranks.vector(uninterrupted))


def test_transformers_reads_a_checkpoint(two_ranks, expected):
    model = LlamaForCausalLM.from_pretrained(two_ranks[0] / "stage3")
    assert close(
        torch.cat([p.detach().flatten() for p in model.state_dict().values()]), expected[2]
    )


def test_a_checkpoint_of_the_torch_learner_is_read(tmp_path):
    written = Torch(**zero_ranks.OPTIONS).start(random_llama())
    zero_ranks.train(written, range(2))
    written.save(tmp_path)
    read = DeepSpeed(stage=3, **zero_ranks.OPTIONS).start(random_llama(rng_seed=1))
    read.load(tmp_path)
    for each in (written, read):
        zero_ranks.train(each, [2])
    assert close(zero_ranks.vector(read), zero_ranks.vector(written))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    DeepSpeed().start(random_llama()).save(tmp_path)
    smaller = LlamaForCausalLM(
        LlamaConfig(**{**random_llama().config.to_dict(), "num_hidden_layers": 1})
    )
    with pytest.raises(CheckpointError, match=r"holds another model: .* adds \['model.layers.1"):
        DeepSpeed().start(smaller).load(tmp_path)


def test_tied_embeddings_are_saved_once_and_come_back(tmp_path):
    config = {**random_llama().config.to_dict(), "tie_word_embeddings": True}
    models = [LlamaForCausalLM(LlamaConfig(**config)) for _ in range(2)]
    learners = [DeepSpeed(stage=3).start(model) for model in models]
    zero_ranks.train(learners[0], [0])
    learners[0].save(tmp_path)
    learners[1].load(tmp_path)
    assert torch.equal(*map(zero_ranks.vector, learners))
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118
    LlamaForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_bfloat16_models_move_by_steps_below_their_rounding(stage, tmp_path):
    spec = DeepSpeed(stage=stage, lr=1e-5, micro_batch=2)
    model = random_llama().to(torch.bfloat16)
    learner = spec.start(model)
    zero_ranks.train(learner, range(5))
    learner.save(tmp_path)
    masters = load_file(tmp_path / "master_weights.safetensors")
    initial = torch.cat(
        [p.detach().to(torch.bfloat16).flatten() for p in random_llama().parameters()]
    )
    moved = torch.cat([masters[name].flatten() for name, _ in model.named_parameters()]) - initial
    assert 1e-5 < moved.abs().mean() < 5e-5
    other = spec.start(random_llama(rng_seed=1).to(torch.bfloat16))
    other.load(tmp_path)
    for each in (learner, other):
        zero_ranks.train(each, [6])
    assert torch.equal(zero_ranks.vector(learner), zero_ranks.vector(other))


@pytest.mark.parametrize("stage", STAGES)
def test_adapters_are_trained_saved_and_read_as_by_the_torch_learner(stage, tmp_path):
    torch_learner = Torch(**zero_ranks.OPTIONS).start(adapted_llama())
    learner = DeepSpeed(stage=stage, **zero_ranks.OPTIONS).start(adapted_llama())
    assert learner.num_trained_parameters == torch_learner.num_trained_parameters
    assert close(*(zero_ranks.train(each, range(3))[1] for each in (learner, torch_learner)))
    learner.save(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
    others = [
        spec.start(adapted_llama(rng_seed=1))
        for spec in (DeepSpeed(stage=stage, **zero_ranks.OPTIONS), Torch(**zero_ranks.OPTIONS))
    ]
    for other in others:
        other.load(tmp_path)
    learners = [learner, torch_learner, *others]
    for each in learners:
        zero_ranks.train(each, [3])
    assert all(close(*map(zero_ranks.vector, (learner, other))) for other in learners[1:])


@pytest.mark.parametrize("stage", [2, 3])
def test_the_reference_of_adapters_is_the_model_without_them(stage):
    learner = DeepSpeed(stage=stage, lr=0.01).start(adapted_llama(), keep_reference=True)
    expected = DeepSpeed().start(random_llama()).logprobs(sample_batch())
    zero_ranks.train(learner, [0])
    seen = SeesReference()
    learner.update(sample_batch(), seen)
    order = [sample_batch().uids.index(uid) for uid in seen.uids]
    assert close(seen.reference, expected[order])
    assert not close(learner.logprobs(sample_batch()), expected)


class SeesReference(SuffixMean):
    needs_reference = True

    def loss(self, logprobs, batch):
        self.uids, self.reference = batch.uids, batch.reference
        return super().loss(logprobs, batch)


@pytest.mark.parametrize(
    "options",
    [
        {"stage": 2, "offload_optimizer": True},
        {"stage": 3, "offload_optimizer": True, "offload_parameters": True},
    ],
)
def test_offloading_changes_no_number(options, expected, tmp_path):
    learner = DeepSpeed(**options, **zero_ranks.OPTIONS).start(random_llama())
    assert close(zero_ranks.train(learner, range(5))[1], expected[1])
    assert close(zero_ranks.vector(learner), expected[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage": 4}, "stage is 4: choose 0, 1, 2 or 3"),
        ({"offload_optimizer": True}, "offload_optimizer needs a stage"),
        ({"stage": 2, "offload_parameters": True}, "offload_parameters needs stage=3"),
        ({"lr": 0.0}, "choose a positive learning rate"),
    ],
)
def test_options_that_do_not_fit_one_another_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DeepSpeed(**options)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package deepspeed: run `pip install"):
        DeepSpeed().start(random_llama())
