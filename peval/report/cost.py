"""What the run cost: seconds, engine starts, tokens, and the route of each adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from peval.report.answers import Answers
from peval.report.document import Column, Paragraph, Section, Table, Text
from peval.report.format import NONE, counted
from peval.report.tables import N_OPEN, count_cell, name_cell, number_cell, text_cell
from peval.report.view import View


def sections(view: View, answers: Answers) -> Iterator[Section]:
    """Yield the section, where an engine was asked."""
    if view.is_predictions:
        return
    said = (Paragraph(words(view)),) if view.results.run.get("sittings") else ()
    yield Section("The cost", (*said, cost_table(view, answers)))


def words(view: View) -> Text:
    """Return the whole cost in a sentence or two."""
    sittings = view.results.run["sittings"]
    wall_s, starting_s, n_starts, n_answered, n_prompt, n_tokens = (
        sum(one[key] for one in sittings)
        for key in ("wall_s", "starting_s", "n_engine_starts", "n_answered", "n_prompt_tokens",
                    "n_tokens")
    )  # fmt: skip
    busy_s = wall_s - starting_s
    rate = f", {n_tokens / busy_s:,.0f} tokens/s written" if busy_s > 0 and n_tokens else ""
    in_all = f" in {counted(len(sittings), 'sitting')}" if len(sittings) > 1 else ""
    return (
        f"{duration(wall_s)}{in_all}, {duration(starting_s)} of it until the first answer: "
        f"{counted(n_starts, 'engine start')}, {counted(n_answered, 'prompt')} answered{rate}; "
        f"{n_prompt:,} tokens read{_cached(sittings)} and {n_tokens:,} written. Prompts that "
        "several items or adapters share are asked once; what was taken over from elsewhere cost "
        "nothing here.",
    )  # fmt: skip


def _cached(sittings: Sequence[Mapping[str, int]]) -> str:
    """Say what share of what was read the engine's prefix cache held, where that is known."""
    n_read, n_cached = (sum(s.get(key, 0) for s in sittings) for key in ("n_read", "n_cached"))
    return f" ({n_cached / n_read:.0%} of them in the engine's prefix cache)" if n_read else ""


def cost_table(view: View, answers: Answers) -> Table:
    """Return each system's route, answers and tokens."""
    routes = {a["name"]: a["route"] for a in view.results.adapters}
    columns = (
        Column(("",), numeric=False), Column(("route",), numeric=False), Column(("answers",)),
        Column(("tokens written",)), Column(("tokens an answer",)),
    )  # fmt: skip
    rows = []
    for system in view.systems:
        blocks = [b for b in answers.blocks.values() if b.system == system]
        n, n_tokens = sum(b.n_answers for b in blocks), sum(b.n_tokens for b in blocks)
        each = n_tokens / n if n else None
        mean = number_cell(each, NONE if each is None else f"{each:,.1f}")
        route = "base" if system is None else routes[system]
        rows.append(
            (name_cell(system), text_cell(route), count_cell(n), count_cell(n_tokens), mean)
        )
    return Table("cost", "Answers and the tokens in them", columns, tuple(rows), N_OPEN + 1)


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that matter."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
