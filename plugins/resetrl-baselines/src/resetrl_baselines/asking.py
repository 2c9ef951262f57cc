"""Prompts about an attempt: its problem asked again, with the attempt in view.

Templates are `prompts/<kind>_<preset>.txt`. They see `question`, `attempt` (its thoughts, each with
its delimiter) and `correct`. The preset is that of the model's own questions about its rollouts.
"""

from __future__ import annotations

from pathlib import Path

from resetrl.method import Method, Session
from resetrl.prompts import find_template, prompt_ids
from resetrl.types import Prompt, Rollout, Verdict

PROMPTS = Path(__file__).parent / "prompts"


def template(kind: str, preset: str, session: Session) -> Path:
    """The template of a kind: the preset or path given, or where that is empty the model's own.

    Raises ConfigError, with the presets listed, if there is none.
    """
    return find_template(kind, preset or session.localization_prompt, PROMPTS)


def ask_again(
    path: Path, attempt: Rollout, verdict: Verdict, method: Method, session: Session
) -> Prompt:
    """The problem of an attempt, asked again.

    An attempt so long that no thought would fit behind it loses thoughts at its end.
    """
    thoughts = attempt.completion.thoughts
    for kept in range(len(thoughts), -1, -1):
        values = {
            "question": attempt.prompt.problem.question,
            "attempt": "".join(thoughts[:kept]),
            "correct": verdict.correct,
        }
        token_ids = prompt_ids(path, session.tokenizer, values, chat=session.chat)
        needed = len(token_ids) + method.limits.max_thought_len
        if session.context_len is None or needed <= session.context_len:
            break
    return Prompt(attempt.prompt.problem, token_ids)
