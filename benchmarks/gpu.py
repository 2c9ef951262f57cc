"""The trainer on a GPU: SmolLM2-135M in bfloat16 on reasoning-gym tasks, in under 8 minutes.

    pip install 'resetrl[smollm2,reasoning-gym]'
    python benchmarks/gpu.py [--seconds 150] [KEY=VALUE ...]

For each task SRPO trains for `--seconds`, after one step that is not counted; tokens/s, seconds a
step and peak memory go to benchmarks/GPU.md. Overrides, `model.lora.rank=16` for instance, apply to
all tasks. Nothing is evaluated, tracked or saved. `--device cpu --tiny` is the same program on the
built-in policy and task, to check it without a GPU; what is measured on a CPU is only printed.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from resetrl.plugins import Registry, load_plugins
from resetrl.run.compose import compose
from resetrl.run.loop import Trainer, build_trainer
from resetrl.types import StepRecord

PAGE = Path(__file__).with_name("GPU.md")
TASKS = ("reasoning_gym/chain_sum", "reasoning_gym/leg_counting")
PHASES = ("draw", "localize", "suffix", "verify", "learn", "sync", "other")
SETTINGS = (
    "model=smollm2",
    "model.dtype=bfloat16",
    "prompts_per_step=16",
    "limits.max_completion_len=256",
    "reset_selector.max_reply_len=256",
    "learner.lr=1e-5",
    "learner.micro_batch=16",
)
TINY_TASKS = ("chain",)
TINY_SETTINGS = ("prompts_per_step=4",)


def measure(trainer: Trainer, seconds: float) -> list[StepRecord]:
    """The steps of a time budget but for the first, which also pays for the start."""
    records: list[StepRecord] = []
    longest, started = 0.0, time.perf_counter()
    while not records[1:] or time.perf_counter() - started + longest < seconds:
        before = time.perf_counter()
        records.append(trainer._train(len(records) + 1))
        longest = max(longest, time.perf_counter() - before)
    return records[1:]


def seconds_of(record: StepRecord) -> float:
    return sum(usage.seconds for usage in record.phases.values())


def peak_memory(device: torch.device) -> str:
    """Memory of tensors and what torch held for them on a GPU; of the process on a CPU."""
    if device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated(device) / 2**30
        return f"{allocated:.2f} ({torch.cuda.max_memory_reserved(device) / 2**30:.2f})"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} (process)"


def row(task: str, records: Sequence[StepRecord], memory: str) -> str:
    times = [seconds_of(record) for record in records]
    usages = [usage for record in records for usage in record.phases.values()]
    sampling = sum(u.seconds for u in usages if u.generated_tokens)
    learning = sum(u.seconds for u in usages if u.learned_tokens)
    generated = sum(u.generated_tokens for u in usages)
    learned = sum(u.learned_tokens for u in usages)
    shares = [
        sum(r.phases[name].seconds for r in records if name in r.phases) / sum(times)
        for name in PHASES
    ]
    return (
        f"| {task} | {len(times)} | {statistics.median(times):.2f} ({min(times):.2f} to "
        f"{max(times):.2f}) | {generated / sampling:,.0f} | {learned / max(learning, 1e-9):,.0f} | "
        + " | ".join(f"{share:.1%}" for share in shares)
        + f" | {memory} |"
    )


def run(task: str, settings: Sequence[str], registry: Registry, seconds: float) -> str:
    trainer = build_trainer(
        compose([f"task={task}", *settings], registry), Path(tempfile.gettempdir()), registry
    )
    device = torch.device(trainer.config.model.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return row(task, measure(trainer, seconds), peak_memory(device))


def page(rows: Sequence[str], device: torch.device, settings: Sequence[str]) -> str:
    where = platform.processor() or platform.machine()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        where = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        where += f", CUDA {torch.version.cuda}"
    columns = ["task", "steps", "step, s (range)", "tokens/s drawn", "tokens/s learned"]
    columns += [*PHASES, "peak memory, GiB (reserved)"]
    return "\n".join(
        [
            "# The trainer on a GPU" if device.type == "cuda" else "# The trainer on a CPU",
            "",
            f"`{shlex.join(['python', *sys.argv])}`, {datetime.date.today().isoformat()}.",
            "",
            f"{where}; Python {platform.python_version()}, torch {torch.__version__}. Settings: "
            f"`{' '.join(settings)}`, the rest as `resetrl train` has it. Drawn tokens are those "
            "of all waves by the seconds of generation, learned ones those of forward and backward "
            "passes.",
            "",
            f"| {' | '.join(columns)} |",
            f"|{'---|' * len(columns)}",
            *rows,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--seconds", type=float, default=150.0, help="of training a task")
    parser.add_argument("--tiny", action="store_true", help="the built-in policy and task")
    parser.add_argument("overrides", nargs="*", help="of the configuration, KEY=VALUE")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(
            f"torch {torch.__version__} sees no CUDA device: run this on a GPU with a CUDA build "
            "of torch, or with --device cpu to check the program (add --tiny to do so quickly)"
        )
    settings = TINY_SETTINGS if arguments.tiny else SETTINGS
    settings = (*settings, f"model.device={device}", *arguments.overrides)
    registry = load_plugins()
    tasks = TINY_TASKS if arguments.tiny else TASKS
    rows = [run(task, settings, registry, arguments.seconds) for task in tasks]
    text = page(rows, device, settings)
    print(text)
    if device.type == "cuda":
        PAGE.write_text(text, encoding="utf-8")
        print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
