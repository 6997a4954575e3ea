"""What a reader must not conclude."""

from __future__ import annotations

from peval.families import EXPLORATORY, PRIMARY, counts
from peval.metrics import is_share
from peval.report.document import Code, Text
from peval.report.format import counted
from peval.report.view import View, headline

FEW_CLUSTERS = 30


def limits(view: View) -> tuple[Text, ...]:
    """Return one text for each."""
    return (
        ("An interval covers the choice of items: how the score would move if the benchmark had "
         "drawn other tasks (or other items, where there is one task only). It does not cover "
         "other training seeds, prompts or decodings.",),
        *_chat(view),
        *_noise(view),
        *_few_clusters(view),
        *_families(view),
        (Code("·"), " means that the data cannot tell, not that there is no difference or no "
         "forgetting.",),
    )  # fmt: skip


def _noise(view: View) -> tuple[Text, ...]:
    """Say what the engine alone changes, where everything was asked twice."""
    noises = [n for n in view.results.noise if n["group"] is None]
    if not noises:
        return ()
    asked = [n for n in noises if n["metric"] == _headline_of(view, n["task"])]
    n_changed, n_items = (sum(n[key] for n in asked) for key in ("n_changed", "n_items"))
    if not n_changed:
        return ((f"Asked once more in other batches, all {n_items:,} answers were the same: the "
                 "engine adds no noise here.",),)  # fmt: skip
    found = [c for a in view.adapters for c in view.differences(a)]
    floors = [100 * c.noise_floor for c in found if c.noise_floor and is_share(c.metric)]
    below: list[str | Code] = []
    for c in [c for c in found if c.is_noise][:6]:
        below += ["; " if below else "", Code(c.adapter), " on ", Code(c.task)]
    n_below = sum(c.is_noise for c in found)
    more = f" and {n_below - 6:,} more" if n_below > 6 else ""
    moved = (
        f"; by that alone a difference moves by up to {max(floors):.2g} points" if floors else ""
    )
    said: Text = (", and none is as small as that.",) if floors else (".",)
    if below:
        said = ("; no larger than that, and so marked ≈, are ", *below, f"{more}.")
    return ((f"Asked once more in other batches, {n_changed:,} of {n_items:,} answers came out "
             f"otherwise{moved}", *said),)  # fmt: skip


def _headline_of(view: View, task: str) -> str:
    return next(headline(t) for t in view.tasks if t["name"] == task)


WHOSE = {
    "adapter": "its own chat template", "base": "the base's chat template",
    "profile": "the profile's chat format", None: "plain text",
}  # fmt: skip


def _chat(view: View) -> tuple[Text, ...]:
    """Say so where models are not asked in the same words."""
    chats = view.results.run.get("chat", {})
    unlike = {
        task: of for task, of in chats.items() if len({one and one[1] for one in of.values()}) > 1
    }
    if not unlike:
        return ()
    task, of = next(iter(unlike.items()))
    said: list[str | Code] = []
    for system, one in of.items():
        how = WHOSE[one[0] if one else None]
        said += ["; " if said else "", Code(system or "base"), f" in {how}"]
    more = f" (and on {counted(len(unlike) - 1, 'other task')})" if len(unlike) > 1 else ""
    return ((
        f"Not every model is asked in the same words on {task}{more}: ", *said,
        ". What a template does and what an adapter learned cannot be told apart here.",
    ),)  # fmt: skip


def _few_clusters(view: View) -> tuple[Text, ...]:
    found = [t for t in view.tasks if 1 < t["n_clusters"] < FEW_CLUSTERS]
    alone = [(t["name"], t["n_samples"]) for t in found if t["n_clusters"] == t["n_samples"]]
    few = [(t["name"], t["n_clusters"]) for t in found if t["n_clusters"] < t["n_samples"]]
    lead = "Items of one task resemble each other, so tasks are what counts: "
    return (*_few(lead, few), *_few("There are few items: ", alone))


def _few(lead: str, few: list[tuple[str, int]]) -> tuple[Text, ...]:
    if not few:
        return ()
    said: list[str | Code] = []
    for name, n in few[:6]:
        said += [", " if said else "", Code(name), f" has {n}"]
    more = f" and {len(few) - 6} more have as few" if len(few) > 6 else ""
    return ((
        lead, *said,
        f"{more}. With so few, intervals are wide and a missing difference proves little.",
    ),)  # fmt: skip


def _families(view: View) -> tuple[Text, ...]:
    """Return how many differences were looked at and what was done about it."""
    found = view.results.comparisons
    n_primary, n_exploratory = (
        sum(c.family == family and counts(c) for c in found) for family in (PRIMARY, EXPLORATORY)
    )
    n_alike = sum(c.family == PRIMARY and not counts(c) for c in found)
    alike = f" ({n_alike:,} more have every answer alike)" if n_alike else ""
    tasks = [t for t in view.tasks if t not in view.unjudged]
    lines: list[Text] = []
    if n_primary:
        lines.append((
            "p-values are adjusted by Holm's method within one family: the headline metric of "
            f"{counted(len(view.adapters), 'adapter')} on {counted(len(tasks), 'task')}, "
            f"{counted(n_primary, 'difference')}{alike}. Were there none in truth, the chance that "
            "any is marked would be at most 5 %.",
        ))  # fmt: skip
    if n_exploratory:
        lines.append((
            "Categories and other metrics are for exploring: their p-values are adjusted by "
            f"Benjamini and Hochberg's method over {counted(n_exploratory, 'difference')}, so that "
            "of those marked about one in twenty may be chance.",
        ))  # fmt: skip
    return tuple(lines)
