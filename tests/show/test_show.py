"""`resetrl show` as a reader sees it, in the terminal and as HTML."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from resetrl.errors import ResetrlError
from resetrl.run.rollouts import read_groups, saved_steps, write_groups
from resetrl.show.command import show
from resetrl.show.find import choose_prompt
from resetrl.show.html import render_page, strength
from resetrl.show.tree import print_prompt, shorten, signed
from resetrl.show.view import view_prompt, visible
from resetrl.types import StepRecord, Update

CHAIN = """\
Run run, step 20
Prompt chain-train-17
question  3+4*6
reference 2
├── Base group: 1 of 2 right, mean reward 0.50
│   Every token of these completions carries gradient.
│   ├── ✘ rollout 1  advantage -1.00  reward 0  9 tokens  answer 3
│   │     1) 3+4=7   2) 7*6=3   3) \\boxed{3}
│   └── ✔ rollout 2  advantage +1.00  reward 1  9 tokens  answer 2
│         1) 3+4=7   2) 7*6=2   3) \\boxed{2}
└── Reset group: 1 of 2 right, mean reward 0.50
    Only the tokens behind the reset carry gradient: the shared prefix of 3
    tokens is masked.
    └── ✘ seed = rollout 1 of the base group  reward 0  9 tokens  answer 3
          1) 3+4=7
             --- reset here: the rest of the seed is dropped ---
          2) 7*6=3  <- first wrong thought, says the policy
          3) \\boxed{3}
        reset before thought 2 (boxed: the policy's reply names it in a box)
        reply 1:3+4=7 ok 2:7*6=3 x \\boxed{2}
        ├── ✔ suffix 1  advantage +1.00  reward 1  6 tokens  answer 2
        │     thought 1 of the seed, then
        │     2) 7*6=2   3) \\boxed{2}
        └── ✘ suffix 2  advantage -1.00  reward 0  6 tokens  answer 4
              thought 1 of the seed, then
              2) 7*6=4   3) \\boxed{4}
"""


def drawn(folder: Path, uid: str, *, width: int = 80, full: bool = False) -> str:
    """What a pipe of that width receives, trailing spaces aside."""
    stream = io.StringIO()
    view = view_prompt("run", choose_prompt(folder, None, uid).tree)
    print_prompt(Console(file=stream, width=width), view, full=full)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def page(folder: Path, uid: str) -> str:
    return render_page(view_prompt("run", choose_prompt(folder, None, uid).tree))


@pytest.fixture
def invoke(run_folder: Path) -> Callable[..., str]:
    app = typer.Typer()
    app.command()(show)

    def run(*arguments: str) -> str:
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return run


def test_a_reset_tree_reads_without_colour(run_folder: Path) -> None:
    assert drawn(run_folder, "chain-train-17") == CHAIN


def test_no_line_is_wider_than_the_terminal(run_folder: Path) -> None:
    for width in (40, 80, 120):
        lines = drawn(run_folder, "words-1", width=width).splitlines()
        assert max(map(len, lines)) <= width


def test_a_long_thought_loses_its_middle_unless_it_is_wanted_in_full(run_folder: Path) -> None:
    short, full = drawn(run_folder, "words-1"), drawn(run_folder, "words-1", full=True)
    assert "characters left out, see --full" in short
    assert "characters left out" not in full
    assert full.count("We add") > short.count("We add")


def test_shortening_keeps_both_ends_and_counts_what_is_left_out() -> None:
    text = "a" * 600 + "b" * 400
    assert shorten(text, False) == (
        "a" * 266 + " [... 600 characters left out, see --full ...] " + "b" * 134
    )
    assert shorten(text, True) == text
    assert shorten("a" * 500, False) == "a" * 500


def test_model_output_cannot_steer_the_terminal(run_folder: Path) -> None:
    text = drawn(run_folder, "words-1", full=True)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "␛[31m" in text
    assert visible("a\r\nb\tc\x00\x9b\ud800é") == "a\nb    c␀\ufffd\ufffdé"


def test_a_status_of_another_plugins_selector_is_shown_as_it_is(run_folder: Path) -> None:
    text = " ".join(drawn(run_folder, "words-1", width=120).split())
    assert "reset before thought 2 (odd)" in text
    assert "<- thought chosen by the selector" in text


def test_a_reset_to_the_bare_prompt_and_equal_rewards_are_said(run_folder: Path) -> None:
    text = drawn(run_folder, "chain-train-9")
    assert "reset before thought 1, to the bare prompt (drawn: drawn at random)" in text
    assert "Equal rewards: all advantages are 0, so no reward pushes these tokens." in text


TREE = """\
Run run, step 10
Prompt chain-1
question  1+1
reference 2
├── Level 1 group: 1 of 1 right, mean reward 1.00, 1 part
│   Every token of these completions carries gradient.
│   ├── … part 1  advantage -0.25  reward 0.5  3 tokens  2 of 4 right
│   │     1) 1+1=2
│   └── ✔ rollout 2  advantage +0.25  reward 1  6 tokens  answer 2
│         1) 1+1=2   2) \\boxed{2}
└── Level 2 group: 0 of 1 right, mean reward 0.00
    Prefixes, of 3 tokens at most, are masked: what follows is trained.
    └── ✘ second turn 1  advantage -10.00  reward 0, shaped -10  3 tokens
        answer 3
          thought 1 from above, then
          2) \\boxed{3}
"""


def test_groups_of_a_samplers_own_kind_are_called_as_it_calls_them(tree_folder: Path) -> None:
    assert drawn(tree_folder, "chain-1") == TREE
    text = page(tree_folder, "chain-1")
    assert "Level 1 group <small>1 of 1 right, mean reward 1.00, 1 part</small>" in text
    assert "reward 0, shaped -10" in text and '<span class="badge">…</span>' in text


def test_the_list_has_a_column_for_each_kind_of_group(
    tree_folder: Path, invoke: Callable[..., str]
) -> None:
    lines = [" ".join(line.split()) for line in invoke(str(tree_folder), "--list").splitlines()]
    assert lines[2:4] == ["prompt question level_1 level_2", "> chain-1 1+1 1 of 1 0 of 1"]
    assert lines[4].startswith("level_1, level_2: right of all. > is what `resetrl show` picks")


class Task:
    """Finds thought 3 wrong, whatever it says."""

    def problems(self, purpose: object) -> list[object]:
        return []

    def verifier(self) -> None:
        return None

    def first_wrong_thought(self, problem: object, thoughts: object) -> int:
        return 3


def test_the_selectors_choice_is_compared_with_the_step_checkers(run_folder: Path) -> None:
    saved = read_groups(saved_steps(run_folder)[20])
    record = StepRecord(
        30,
        [each.group for each in saved],
        [each.advantages for each in saved],
        [],
        Update(0.0, 0.0),
        {},
        {},
    )
    write_groups(run_folder, record, task=Task(), mask_prefix=False)  # type: ignore[arg-type]
    text = " ".join(drawn(run_folder, "chain-train-17").split())
    assert "3) \\boxed{3} <- first wrong thought, says the step checker" in text
    assert (
        "1 thought early: the step checker finds thought 3 to be the first wrong one, so right "
        "thoughts are drawn anew"
    ) in text
    assert (
        "Every token carries gradient, the 3 tokens of the shared prefix included "
        "(mask_prefix=false)."
    ) in text
    assert 'class="text up"' in page(run_folder, "chain-train-17")
    assert 'kept" title' not in page(run_folder, "chain-train-17")


class Elements(HTMLParser):
    """Tags with their attributes, and the text outside the style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_escapes_everything_the_model_wrote(run_folder: Path) -> None:
    text = page(run_folder, "words-1")
    elements = Elements(text)
    assert text.count("</style>") == 1
    assert "script" not in elements.tags
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert "<script>alert(1)</script></style>{{ 7*7 }}␛[31m" in elements.text
    assert "49" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL)


def test_the_page_needs_nothing_but_itself(run_folder: Path) -> None:
    text = page(run_folder, "chain-train-17")
    elements = Elements(text)
    assert text.startswith("<!doctype html>")
    assert not {"link", "img", "iframe", "script"} & set(elements.tags)
    assert not {"src", "href"} & {name for name, _ in elements.attributes}
    assert "default-src 'none'" in text
    assert "url(" not in text


def test_the_page_colours_suffix_thoughts_by_their_advantage_and_greys_the_prefix(
    run_folder: Path,
) -> None:
    text = page(run_folder, "chain-train-17")
    title = r'class="text (\w+)" title="3 tokens, mean log-probability -0.50(.*?)"'
    shown = re.findall(title, text)
    base = ["down"] * 3 + ["up"] * 3
    suffixes = ["kept", "up", "up", "kept", "down", "down"]
    assert [colour for colour, _ in shown] == base + suffixes
    # Of advantage 1: one ninth of 1 - exp(-0.5) in the base group, one sixth behind the prefix.
    base_push, suffix_push = ", pushed by 0.044 a token", ", pushed by 0.066 a token"
    assert [push for _, push in shown] == [base_push] * 6 + ["", suffix_push, suffix_push] * 2


def test_advantages_have_a_sign_and_a_strength() -> None:
    assert [signed(value) for value in (1.7321, -0.5774, 0.0)] == ["+1.73", "-0.58", "0"]
    assert [strength(value) for value in (0.0, 1.0, -1.0, 9.0)] == ["0", "28", "28", "45"]


def test_the_command_draws_the_default_and_says_what_it_passed_over(
    invoke: Callable[..., str],
) -> None:
    text = " ".join(invoke("srpo").split())
    assert "Prompt chain-train-17" in text
    assert "Passed over: chain-train-7 (no reset group)" in text
    assert "All prompts: resetrl show srpo --list" in text


def test_the_list_shows_steps_and_prompts_and_marks_the_default(
    invoke: Callable[..., str],
) -> None:
    lines = [" ".join(line.split()) for line in invoke("srpo", "--list").splitlines()]
    assert lines[:6] == [
        "Saved steps: 10, 20",
        "Prompts of step 20, all chain-train-...",
        "prompt question base suffixes reset at",
        "7 1+1 2 of 2 - -",
        "9 1+1 0 of 2 0 of 2 1 of 2",
        "> 17 3+4*6 1 of 2 1 of 2 2 of 3",
    ]


def test_the_command_writes_the_page(invoke: Callable[..., str]) -> None:
    assert "Wrote step 10, prompt words-1, to tree.html" in invoke(
        "srpo", "--prompt", "words-1", "--html", "tree.html"
    )
    assert "So it is two." in Path("tree.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_one_sentence(invoke: Callable[..., str]) -> None:
    with pytest.raises(ResetrlError, match=r"--html none/tree\.html could not be written: No such"):
        invoke("srpo", "--html", "none/tree.html")
    with pytest.raises(ResetrlError, match="use one of them"):
        invoke("srpo", "--list", "--html", "tree.html")
