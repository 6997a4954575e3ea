"""Draw the examples that the toy base model is pretrained on.

They cover the operations of ``make_data.TASKS`` under many other wordings and layouts, and never
show a definition or an input that stands in the data set. For most families the answer usually
comes with a lead-in ("the answer is ..."): this habit is what the adapters can improve on.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from make_data import (
    KIND_OF,
    KINDS,
    NAMES,
    TASKS,
    TEST_INSTANCES,
    THINGS,
    TRAIN_INSTANCES,
    WORDS,
    Pair,
    backwards,
    close_text,
    code_of,
    count_of,
    draw_pairs,
    encode_prompt,
    kinds_of,
    member_of,
    owner_of,
    parity_of,
    pick_at,
    rewrite,
    sentence_of,
    sum_of,
    without_first,
    without_last,
)

SEPARATORS = (", ", " ", "; ", " | ", " / ", " - ")
INTROS = (
    "",
    "",
    "",
    "",
    "You are given a {list} of {words}. ",
    "Here is a {list} of {words}. ",
    "Look at the {list}. ",
    "You see some {words}. ",
    "In this task you see a {list}. ",
    "The input is a {list} of {words} with commas or bars between them. ",
)
LISTS = ("list", "line", "row", "series")
UNITS = (("word", "words"), ("item", "items"), ("entry", "entries"))
TELL = ("Give", "Return", "Write", "Name", "Copy", "Copy only", "Answer with", "Tell me", "Find")
POSITIONS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (0, ("first", "opening", "first", "very first")),
    (1, ("second",)),
    (2, ("third",)),
    (-1, ("last", "final", "last", "very last")),
)
REVERSALS = (
    "Write the {words} in reverse order.",
    "Reverse the {list}.",
    "Turn the {list} round.",
    "Give the {list} backwards.",
    "Write all the {words} from the last to the first.",
    "Return the {list} so that it runs backwards.",
    "Turn round the order of its {words}.",
)
DROPS_FIRST = (
    "Remove the first {word}.",
    "Leave out the first {word} and write the other {words}.",
    "Write all {words} but the first.",
    "Give the {list} without its opening {word}.",
)
DROPS_LAST = (
    "Remove the last {word}.",
    "Leave out the final {word} and write the other {words}.",
    "Write all {words} but the last.",
    "Give the {list} without its last {word}.",
)
KIND_WORDINGS = (
    "Name the kind of each {word}.",
    "Tell what kind of thing each {word} is.",
    "For each {word}, write if it is an animal, fruit, colour, tool, garment or vehicle.",
    "To which group does each {word} belong?",
    "Give the group of each {word}.",
)
MEMBER_WORDINGS = (
    "Give the {word} that is of this kind.",
    "{tell} the {word} that belongs to the kind.",
    "You are given a kind and some {words}. {tell} the right {word}.",
    "Which {word} belongs to the group?",
    "The question asks for a {word} of one group. {tell} this {word}.",
    "A kind is asked for. {tell} the {word} of that kind.",
)
MEMBER_LAYOUTS = (
    "{kind}: {words}",
    "{words}. Which one is a {kind}?",
    "Find a {kind} in {words}",
    "kind {kind}, words {words}",
    "Which {kind} is here? {words}",
    "Is there a {kind}? {words}",
)
COUNT_WORDINGS = (
    "Count the {words}.",
    "How many {words} are there?",
    "Give the number of {words}.",
    "Count the {words} of the {list} and write the number.",
    "Answer with the number of {words} in the {list}.",
)
PARITY_WORDINGS = (
    "Is the number odd or even?",
    "Say odd or even.",
    "Tell if this number is odd or even.",
    "Answer even if the number can be halved, and odd if not.",
)
SUM_WORDINGS = (
    "Add the two numbers.",
    "Give the sum of the numbers.",
    "What is the sum of these two numbers?",
    "Write the sum.",
)
FILL_WORDINGS = (
    "Write: {pattern}",
    "Fill this pattern: {pattern}",
    "Use the name, the thing and the place. Write: {pattern}",
    "You are given three parts. Fill the pattern: {pattern}",
    "Put the three parts in this sentence: {pattern}",
    "Use the parts to write this: {pattern}",
)
PATTERNS = (
    "{name} {verb} the {thing} {prep} the {place}.",
    "The {thing} of {name} is {prep} the {place}.",
    "{name} {verb} the {thing} {prep} the {place}.",
    "{prep} the {place} {name} {verb} the {thing}.",
)
FILL_LAYOUTS = (
    "{name}, {thing}, {place}",
    "{name} / {thing} / {place}",
    "{name} {thing} {place}",
    "name {name}, thing {thing}, place {place}",
    "{name}; {thing}; {place}",
)
VERBS = ["left", "hid", "found", "lost", "saw", "took", "sold", "kept", "bought"]
PREPOSITIONS = ["in", "near", "behind", "at", "by"]
OWNER_WORDINGS = (
    "Answer the question with a name.",
    "Read the text and answer the question.",
    "Read it and tell who is asked for.",
    "The text tells who has each thing. Answer with the right name.",
    "Give the name of the person that the question asks for.",
    "Tell the person that the question asks for.",
)
OWNER_VERBS = ["has", "found", "lost", "saw", "took", "sold", "kept", "bought", "wants"]
CODE_WORDINGS = (
    "Give the code of this member.",
    "Tell the code on the badge of the member.",
    "You are given a full name. Write the code.",
)
HABITS: dict[str, tuple[str, float]] = {
    "pick": ("the answer is {}", 0.7),
    "rewrite": ("new list: {}", 0.7),
    "kinds": ("kinds: {}", 0.7),
    "member": ("the answer is {}", 0.7),
    "count": ("the number is {}", 0.7),
    "parity": ("it is {}", 0.7),
    "sum": ("the sum is {}", 0.7),
    "fill": ("text: {}", 0.4),
    "owner": ("it was {}", 0.7),
    "code": ("the code is {}", 0.7),
}
WEIGHTS: dict[str, float] = {
    "pick": 5,
    "rewrite": 5,
    "kinds": 2,
    "member": 4,
    "count": 2,
    "parity": 1,
    "sum": 1,
    "fill": 3,
    "owner": 4,
    "code": 0.2,
}


def worded(rng: random.Random, text: str) -> str:
    """Fill the words that stand for lists and units in a wording."""
    word, words = rng.choice(UNITS)
    return text.format(list=rng.choice(LISTS), word=word, words=words, tell=rng.choice(TELL))


def on_list(rng: random.Random, wordings: tuple[str, ...]) -> str:
    """Put a wording about lists together with an introduction."""
    return worded(rng, rng.choice(INTROS) + rng.choice(wordings))


def draw_pick(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of taking one word out of a list."""
    index, names = rng.choice((POSITIONS[0], POSITIONS[3], rng.choice(POSITIONS)))
    tail = rng.choice(("", " of the {list}", " in the {list}", " of this {list}"))
    wording = "{tell} the " + rng.choice(names) + " {word}" + tail + "."
    return on_list(rng, (wording,)), pick_at(rng, rng.choice(SEPARATORS), index)


def draw_rewrite(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of writing a list anew."""
    wordings, change = rng.choice(
        (
            (REVERSALS, backwards),
            (REVERSALS, backwards),
            (DROPS_FIRST, without_first),
            (DROPS_LAST, without_last),
        )
    )
    return on_list(rng, wordings), rewrite(rng, rng.choice(SEPARATORS), change)


def draw_kinds(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of naming the kinds of words."""
    return on_list(rng, KIND_WORDINGS), kinds_of(rng, rng.choice(SEPARATORS), rng.randint(1, 3))


def draw_member(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of finding the word of a kind."""
    pair = member_of(rng, rng.choice(MEMBER_LAYOUTS), rng.choice(SEPARATORS), rng.randint(3, 4))
    return worded(rng, rng.choice(MEMBER_WORDINGS)), pair


def draw_count(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of counting."""
    return on_list(rng, COUNT_WORDINGS), count_of(rng, rng.choice(SEPARATORS))


def draw_parity(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of odd and even."""
    layout = rng.choice(("{number}", "number {number}", "the number {number}"))
    return rng.choice(PARITY_WORDINGS), parity_of(rng, layout)


def draw_sum(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of adding."""
    layout = rng.choice(("{a} + {b}", "{a} and {b}", "{a}, {b}"))
    return rng.choice(SUM_WORDINGS), sum_of(rng, layout)


def draw_fill(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of filling a pattern."""
    verb, prep = rng.choice(VERBS), rng.choice(PREPOSITIONS)
    pattern = rng.choice(PATTERNS).replace("{verb}", verb).replace("{prep}", prep)
    shown = pattern.format(name="NAME", thing="THING", place="PLACE")
    definition = rng.choice(FILL_WORDINGS).format(pattern=shown)
    return definition, sentence_of(rng, pattern, rng.choice(FILL_LAYOUTS))


def draw_owner(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of a question about who did what."""
    verb = rng.choice(OWNER_VERBS)
    clause, joiner, question = rng.choice(
        (
            ("{name} VERB the {thing}.", " ", " Who VERB the {thing}?"),
            ("{name} VERB the {thing}", ", ", ". Who VERB the {thing}?"),
            ("{name} VERB the {thing}", " and ", ". And the {thing}?"),
            ("the {thing}: {name}", ", ", ". Who VERB the {thing}?"),
        )
    )
    parts = [part.replace("VERB", verb) for part in (clause, joiner, question)]
    return rng.choice(OWNER_WORDINGS), owner_of(rng, *parts, size=rng.randint(2, 3))


def draw_code(rng: random.Random) -> tuple[str, Pair]:
    """Draw an example of a code, which nothing in the input foretells."""
    return rng.choice(CODE_WORDINGS), code_of(rng, rng.choice(("{name} {surname}", "{name}")))


DRAWS: dict[str, Callable[[random.Random], tuple[str, Pair]]] = {
    "pick": draw_pick,
    "rewrite": draw_rewrite,
    "kinds": draw_kinds,
    "member": draw_member,
    "count": draw_count,
    "parity": draw_parity,
    "sum": draw_sum,
    "fill": draw_fill,
    "owner": draw_owner,
    "code": draw_code,
}


def list_facts(rng: random.Random) -> tuple[str, list[str]]:
    """Draw a list and say many things about it."""
    words, sep = rng.sample(WORDS, rng.randint(3, 7)), rng.choice(SEPARATORS)
    facts = [
        f"first word {words[0]}",
        f"second word {words[1]}",
        f"third word {words[2]}",
        f"last word {words[-1]}",
        f"number {len(words)}",
        f"backwards: {sep.join(backwards(words))}",
        f"without the first: {sep.join(without_first(words))}",
        f"without the last: {sep.join(without_last(words))}",
    ]
    return sep.join(words), rng.sample(facts, 5)


def kind_facts(rng: random.Random) -> tuple[str, list[str]]:
    """Draw words of different kinds and say which is which."""
    words = [rng.choice(KINDS[kind]) for kind in rng.sample(list(KINDS), rng.randint(3, 5))]
    facts = [f"{KIND_OF[word]} {word}" for word in words]
    return rng.choice(SEPARATORS).join(words), rng.sample(facts, len(facts))


def word_facts(rng: random.Random) -> tuple[str, list[str]]:
    """Draw words and give the kind of each."""
    words = rng.sample(WORDS, 6)
    return rng.choice(SEPARATORS).join(words), [f"{word} {KIND_OF[word]}" for word in words]


def owner_facts(rng: random.Random) -> tuple[str, list[str]]:
    """Draw who did what with each thing and list the names by thing."""
    size, verb = rng.randint(2, 4), rng.choice(OWNER_VERBS)
    names, things = rng.sample(NAMES, size), rng.sample(THINGS, size)
    parts = list(zip(names, things, strict=True))
    text = rng.choice((". ", ", ", " and ")).join(f"{n} {verb} the {t}" for n, t in parts)
    return text, [f"the {t}: {n}" for n, t in rng.sample(parts, size)]


def spelling_facts(rng: random.Random) -> tuple[str, list[str]]:
    """Draw words and write each at the beginning of a line."""
    words = rng.sample(WORDS + NAMES, 6)
    return " ".join(words), ["\n" + "\n".join(words)]


FACTS = (list_facts, list_facts, kind_facts, word_facts, owner_facts, spelling_facts)


class Corpus:
    """An endless stream of (prompt, answer) pairs that keeps clear of the data set."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"corpus/{seed}")
        self.definitions = {task.definition for task in TASKS}
        self.inputs = {
            text
            for task in TASKS
            for text, _ in draw_pairs(task, max(TRAIN_INSTANCES, TEST_INSTANCES) + 4)
        }

    def draw(self) -> tuple[str, str]:
        """Draw one example."""
        while True:
            family = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            definition, (text, answer) = DRAWS[family](self.rng)
            if definition in self.definitions or text in self.inputs:
                continue
            lead, share = HABITS[family]
            if self.rng.random() < share:
                answer = lead.format(answer)
            return encode_prompt(definition, text), answer

    def exercise(self) -> tuple[str, str]:
        """Draw a plain text: an input and several true statements about it."""
        while True:
            text, facts = self.rng.choice(FACTS)(self.rng)
            if text not in self.inputs:
                return f"Input: {close_text(text)}\nFacts:", " " + ", ".join(facts)
