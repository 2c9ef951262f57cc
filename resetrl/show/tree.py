"""A prompt's reset tree in the terminal; it reads the same without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from resetrl.run.rollouts import SavedGroup
from resetrl.show.find import PromptTree, common_beginning, first_telling
from resetrl.show.view import (
    GroupView,
    PromptView,
    RolloutView,
    SeedView,
    ThoughtView,
    are_short,
    visible,
)

SHOWN_CHARACTERS = 400
"""Longer thoughts and replies lose their middle unless they are wanted in full."""

GAP = " " * 3
RESET_LINE = "--- reset here: the rest of the seed is dropped ---"


def print_prompt(console: Console, view: PromptView, *, full: bool) -> None:
    """Print a prompt's reset tree."""
    console.print(Text(f"Run {view.run}, step {view.step}"))
    tree = Tree(Group(Text(f"Prompt {view.uid}", "bold"), _problem(view, full)), guide_style="dim")
    for group in view.groups:
        node = tree.add(Group(*_group_lines(group)))
        if group.seed is not None:
            node = node.add(_seed(group.seed, full))
        for rollout in group.rollouts:
            node.add(_rollout(rollout, group.prefix_of, full))
    console.print(tree, highlight=False)


def _problem(view: PromptView, full: bool) -> Table:
    rows = _grid()
    rows.add_row(Text("question", "dim"), Text(shorten(view.question, full)))
    rows.add_row(Text("reference", "dim"), Text(shorten(view.reference, full)))
    return rows


def _group_lines(group: GroupView) -> list[Text]:
    return [
        Text.assemble((group.title, "bold"), f": {group.summary}"),
        Text(group.gradient, "italic"),
    ]


def _rollout(rollout: RolloutView, prefix_of: str, full: bool) -> RenderableType:
    """A rollout's verdict and advantage, and the thoughts that were drawn for it."""
    lines: list[RenderableType] = [
        Text.assemble(
            *_mark(rollout),
            "  advantage ",
            (signed(rollout.advantage), _advantage_style(rollout.advantage)),
            *_facts(rollout),
        )
    ]
    if rollout.prefix:
        kept = f"thoughts 1-{len(rollout.prefix)}" if len(rollout.prefix) > 1 else "thought 1"
        lines.append(Text(f"  {kept} {prefix_of}, then", "dim"))
    lines.append(Padding(_thoughts(rollout.thoughts, full), (0, 0, 0, 2)))
    return Group(*lines)


def _mark(rollout: RolloutView) -> list[tuple[str, str]]:
    if rollout.is_part:
        mark = ("\N{HORIZONTAL ELLIPSIS} ", "dim")
    elif rollout.correct:
        mark = ("\N{HEAVY CHECK MARK} ", "green")
    else:
        mark = ("\N{HEAVY BALLOT X} ", "red")
    return [mark, (rollout.title, "bold")]


def _facts(rollout: RolloutView) -> list[str]:
    facts = [f"  reward {rollout.reward}", f"  {rollout.num_tokens} tokens"]
    if rollout.answer:
        facts.append(f"  answer {rollout.answer}")
    elif rollout.why:
        facts.append(f"  {rollout.why}")
    if rollout.cut and not rollout.is_part:
        facts.append(f"  ({rollout.stop})")
    return facts


def signed(advantage: float) -> str:
    """`+1.73`, `-0.58` or `0`."""
    return f"{advantage:+.2f}" if advantage else "0"


def _advantage_style(advantage: float) -> str:
    if not advantage:
        return "dim"
    return "bold cyan" if advantage > 0 else "bold yellow"


def _thoughts(thoughts: Sequence[ThoughtView], full: bool) -> RenderableType:
    """Numbered thoughts: short ones side by side, others one below the other."""
    if not thoughts:
        return Text("(nothing was drawn)", "dim")
    if are_short(thoughts):
        return SideBySide(
            [Text.assemble((_number(each), "dim"), " ", each.text) for each in thoughts]
        )
    rows = _grid()
    for each in thoughts:
        rows.add_row(Text(_number(each), "dim"), Text(shorten(each.text, full)))
    return rows


@dataclass(frozen=True)
class SideBySide:
    """Short texts in lines that break only between two of them."""

    texts: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text()
        for text in self.texts:
            if line and line.cell_len + len(GAP) + text.cell_len > options.max_width:
                yield line
                line = Text()
            line = Text.assemble(line, GAP, text) if line else text
        yield line


def _number(thought: ThoughtView) -> str:
    return "" if thought.number is None else f"{thought.number})"


def _seed(seed: SeedView, full: bool) -> RenderableType:
    """The seed's thoughts one below the other, and where it was reset and why."""
    rows = _grid()
    for thought in seed.rollout.thoughts:
        number, text = _number(thought), Text(shorten(thought.text, full))
        if thought.number == seed.chosen:
            rows.add_row("", Text(RESET_LINE, "bold"))
            text.stylize("bold red")
            text.append(f"  <- {seed.claim}", "not bold red")
        elif thought.number is not None and thought.number > seed.chosen:
            text.stylize("dim strike")
        if thought.number == seed.first_wrong != seed.chosen:
            text.append("  <- first wrong thought, says the step checker", "not strike red")
        rows.add_row(Text(number, "dim"), text)
    return Group(
        Text.assemble(*_mark(seed.rollout), *_facts(seed.rollout)),
        Padding(rows, (0, 0, 0, 2)),
        *_reset_lines(seed, full),
    )


def _reset_lines(seed: SeedView, full: bool) -> list[RenderableType]:
    where = f"reset before thought {seed.chosen}"
    if seed.chosen == 1:
        where += ", to the bare prompt"
    why = f" ({seed.status}: {seed.why})" if seed.why else f" ({seed.status})"
    lines: list[RenderableType] = [Text.assemble((where, "bold"), why)]
    if seed.judgement:
        lines.append(Text(seed.judgement))
    if seed.reply:
        rows = _grid()
        rows.add_row(Text("reply", "dim"), Text(shorten(seed.reply, full)))
        lines.append(rows)
    return lines


def _grid() -> Table:
    """Two columns: a narrow label, and text that wraps beside it."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def print_list(console: Console, trees: Sequence[PromptTree], steps: Sequence[int]) -> None:
    """Print the saved steps, and the prompts of one of them with their outcomes."""
    saved = ", ".join(map(str, steps))
    console.print(Text(f"Saved steps: {saved}"))
    shared = common_beginning([tree.problem.uid for tree in trees])
    console.print(Text(f"Prompts of step {trees[0].step}" + (f", all {shared}..." * bool(shared))))
    table = Table(box=None)
    table.add_column("")
    table.add_column("prompt", overflow="fold")
    table.add_column("question", overflow="ellipsis", no_wrap=True, max_width=40)
    kinds = list(dict.fromkeys(kind for tree in trees for kind in tree.kinds))
    columns = ["suffixes" if kind == "reset" else visible(kind) for kind in kinds]
    for name in columns:
        table.add_column(name, no_wrap=True)
    has_resets = "reset" in kinds
    if has_resets:
        table.add_column("reset at", no_wrap=True)
    default = first_telling(trees)
    for place, tree in enumerate(trees):
        table.add_row(
            ">" if place == default else "",
            Text(visible(tree.problem.uid.removeprefix(shared))),
            Text(visible(" ".join(tree.problem.question.split()))),
            *(_right(tree.of_kind(kind)) for kind in kinds),
            *([_reset_places(tree)] if has_resets else []),
        )
    console.print(table)
    reset_at = "reset at: thought of the seed's thoughts. " if has_resets else ""
    console.print(
        Text(
            f"{', '.join(columns)}: right of all. {reset_at}"
            "> is what `resetrl show` picks; another with --prompt, another step with --step."
        )
    )


def _right(groups: Sequence[SavedGroup]) -> str:
    verdicts = [
        verdict
        for saved in groups
        for rollout, verdict in zip(saved.group.rollouts, saved.group.verdicts, strict=True)
        if rollout.completion.is_whole
    ]
    return f"{sum(v.correct for v in verdicts)} of {len(verdicts)}" if verdicts else "-"


def _reset_places(tree: PromptTree) -> str:
    states = [saved.group.reset_state for saved in tree.resets]
    places = [f"{s.selection.thought} of {len(s.seed.completion.thoughts)}" for s in states if s]
    return ", ".join(places) or "-"


def shorten(text: str, full: bool, most: int = SHOWN_CHARACTERS) -> str:
    """The text or, of a very long one, its beginning and its end with the count left out."""
    if full or len(text) <= most * 5 // 4:  # leaving out less would not shorten it
        return text
    head, tail = text[: most * 2 // 3].rstrip(), text[-most // 3 :].lstrip()
    left_out = len(text) - len(head) - len(tail)
    return f"{head} [... {left_out:,} characters left out, see --full ...] {tail}"
