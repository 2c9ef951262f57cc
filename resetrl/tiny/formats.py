"""What the tiny policy reads and writes: the prompt formats it was warm-started on.

To solve a problem it reads `3+4*6\\n` and writes
`3+4=7</thought>7*6=2</thought>\\boxed{2}</thought>`.
To find the first wrong thought of a chain it reads

    ?3+4*6
    1:3+4=7
    2:7*6=3
    3:\\boxed{3}
    #

and writes each thought again with a mark, `.` for right and `!` for wrong, up to the first wrong
one, whose number it then boxes: `1:3+4=7.\\n2:7*6=3!\\n\\boxed{2}`. A bare number as reply could
not be learned: the marks let it check one thought at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

PAD = "<pad>"
EOS = "<eos>"
UNKNOWN = "<unk>"
DELIMITER = "</thought>"
BOX_OPENING = "\\boxed{"
RIGHT_MARK = "."
WRONG_MARK = "!"


def completion_prompt(question: str) -> str:
    """What the policy reads to solve a problem: `completion_prompt("3+4*6") == "3+4*6\\\\n"`."""
    return f"{question}\n"


def completion(thoughts: Sequence[str]) -> str:
    """What the policy writes: every thought, the boxed answer included, with its delimiter."""
    return "".join(f"{thought}{DELIMITER}" for thought in thoughts)


def localization_prompt(question: str, thoughts: Sequence[str]) -> str:
    """What the policy reads to find the first wrong one of these thoughts (without delimiters)."""
    lines = [f"{number}:{thought}\n" for number, thought in enumerate(thoughts, start=1)]
    return f"?{question}\n{''.join(lines)}#"


def localization_reply(thoughts: Sequence[str], first_wrong: int) -> str:
    """What the policy should write about thoughts of which the 1-based `first_wrong` is that."""
    right = [
        f"{number}:{thought}{RIGHT_MARK}\n"
        for number, thought in enumerate(thoughts[: first_wrong - 1], start=1)
    ]
    wrong = f"{first_wrong}:{thoughts[first_wrong - 1]}{WRONG_MARK}\n"
    return f"{''.join(right)}{wrong}{BOX_OPENING}{first_wrong}}}"
