"""Write the toy data set: synthetic tasks in the layout of Super-NaturalInstructions.

Run ``python tests/toy/make_data.py`` to rewrite ``tests/toy/data``. Only the standard library is
used, and everything follows from ``SEED``, so the same files come out each time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SEED = 20240611
TRAIN_INSTANCES = 240
TEST_INSTANCES = 100
SPLIT_POOL = 200
SPLIT_TRAIN = 100
HERE = Path(__file__).resolve().parent

KINDS: dict[str, list[str]] = {
    "animal": [
        "dog",
        "cat",
        "horse",
        "cow",
        "sheep",
        "goat",
        "lion",
        "tiger",
        "bear",
        "wolf",
        "fox",
        "rabbit",
        "mouse",
        "duck",
    ],
    "fruit": [
        "apple",
        "pear",
        "plum",
        "grape",
        "lemon",
        "melon",
        "peach",
        "cherry",
        "mango",
        "banana",
        "orange",
        "fig",
    ],
    "colour": [
        "red",
        "blue",
        "green",
        "yellow",
        "black",
        "white",
        "pink",
        "brown",
        "grey",
        "purple",
    ],
    "tool": [
        "hammer",
        "saw",
        "drill",
        "wrench",
        "chisel",
        "shovel",
        "rake",
        "axe",
        "knife",
        "ladder",
    ],
    "garment": [
        "shirt",
        "hat",
        "coat",
        "shoe",
        "sock",
        "glove",
        "scarf",
        "belt",
        "dress",
        "jacket",
    ],
    "vehicle": ["car", "bus", "train", "bike", "truck", "boat", "plane", "van", "tram", "ship"],
}
KIND_OF: dict[str, str] = {word: kind for kind, words in KINDS.items() for word in words}
WORDS: list[str] = list(KIND_OF)
THINGS: list[str] = KINDS["fruit"] + KINDS["tool"] + KINDS["garment"]
NAMES: list[str] = [
    "Anna",
    "Ben",
    "Carl",
    "Dora",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivan",
    "Jill",
    "Karl",
    "Lena",
    "Max",
    "Nina",
    "Omar",
    "Paul",
    "Rosa",
    "Sam",
    "Tom",
    "Vera",
]
SURNAMES: list[str] = [
    "Adler",
    "Brook",
    "Cole",
    "Dunn",
    "East",
    "Flint",
    "Grant",
    "Holt",
    "Innes",
    "Jarvis",
    "Kemp",
    "Lowe",
    "Marsh",
    "North",
    "Orr",
    "Penn",
]
PLACES: list[str] = [
    "park",
    "school",
    "market",
    "garden",
    "kitchen",
    "station",
    "library",
    "office",
    "beach",
    "museum",
]

Pair = tuple[str, str]


@dataclass(frozen=True)
class Task:
    """One task: what its file says, and how an instance of it is drawn."""

    name: str
    category: str
    domain: str
    definition: str
    draw: Callable[[random.Random], Pair]
    held_out: bool = False


def some_words(rng: random.Random, low: int, high: int, pool: Sequence[str] = WORDS) -> list[str]:
    """Draw between ``low`` and ``high`` different words of ``pool``."""
    return rng.sample(pool, rng.randint(low, high))


def pick_at(
    rng: random.Random,
    sep: str,
    index: int,
    low: int = 3,
    high: int = 6,
    pool: Sequence[str] = WORDS,
) -> Pair:
    """Draw a list; the answer is the word at ``index``."""
    words = some_words(rng, low, high, pool)
    return sep.join(words), words[index]


def rewrite(
    rng: random.Random,
    sep: str,
    change: Callable[[list[str]], list[str]],
    low: int = 3,
    high: int = 5,
) -> Pair:
    """Draw a list; the answer is the list after ``change``, joined the same way."""
    words = some_words(rng, low, high)
    return sep.join(words), sep.join(change(words))


def backwards(words: list[str]) -> list[str]:
    """Turn a list round."""
    return words[::-1]


def without_first(words: list[str]) -> list[str]:
    """Leave out the first word."""
    return words[1:]


def without_last(words: list[str]) -> list[str]:
    """Leave out the last word."""
    return words[:-1]


def kinds_of(rng: random.Random, sep: str, size: int = 2) -> Pair:
    """Draw some words; the answer names the kind of each."""
    words = rng.sample(WORDS, size)
    return sep.join(words), sep.join(KIND_OF[word] for word in words)


def member_of(rng: random.Random, layout: str, sep: str, size: int = 4) -> Pair:
    """Draw words of different kinds; the answer is the one of the kind asked for."""
    kinds = rng.sample(list(KINDS), size)
    words = [rng.choice(KINDS[kind]) for kind in kinds]
    at = rng.randrange(size)
    return layout.format(kind=kinds[at], words=sep.join(words)), words[at]


def count_of(rng: random.Random, sep: str, pool: Sequence[str] = WORDS) -> Pair:
    """Draw a list of two to seven words; the answer is how many there are."""
    words = some_words(rng, 2, 7, pool)
    return sep.join(words), str(len(words))


def parity_of(rng: random.Random, layout: str = "{number}") -> Pair:
    """Draw a number below 1000; the answer is whether it is odd or even."""
    number = rng.randrange(10, 1000)
    return layout.format(number=number), "odd" if number % 2 else "even"


def sum_of(rng: random.Random, layout: str = "{a} + {b}") -> Pair:
    """Draw two numbers of two digits; the answer is their sum."""
    a, b = rng.randrange(10, 100), rng.randrange(10, 100)
    return layout.format(a=a, b=b), str(a + b)


def sentence_of(rng: random.Random, pattern: str, layout: str) -> Pair:
    """Draw a name, a thing and a place; the answer is the pattern filled with them."""
    parts = {
        "name": rng.choice(NAMES),
        "thing": rng.choice(THINGS),
        "place": rng.choice(PLACES),
    }
    return layout.format(**parts), pattern.format(**parts)


def owner_of(rng: random.Random, clause: str, joiner: str, question: str, size: int = 3) -> Pair:
    """Draw who has what; the answer is the name that goes with the thing asked for."""
    names, things = rng.sample(NAMES, size), rng.sample(THINGS, size)
    clauses = [clause.format(name=n, thing=t) for n, t in zip(names, things, strict=True)]
    at = rng.randrange(size)
    return joiner.join(clauses) + question.format(thing=things[at]), names[at]


def random_code(rng: random.Random) -> str:
    """Draw a code of two letters, two digits and two letters."""
    letters = [rng.choice(string.ascii_lowercase) for _ in range(4)]
    return f"{letters[0]}{letters[1]}-{rng.randrange(10, 100)}-{letters[2]}{letters[3]}"


def code_of(rng: random.Random, layout: str = "{name} {surname}") -> Pair:
    """Draw a full name and a code that has nothing to do with it."""
    name = layout.format(name=rng.choice(NAMES), surname=rng.choice(SURNAMES))
    return name, random_code(rng)


TASKS: tuple[Task, ...] = (
    Task(
        "task001_first_word_extraction",
        "Word Selection",
        "Words",
        "You are given a list of words with commas between them. Return the first word.",
        lambda rng: pick_at(rng, ", ", 0),
    ),
    Task(
        "task002_last_word_extraction",
        "Word Selection",
        "Words",
        "In this task you see a few words. Give the last word of the line.",
        lambda rng: pick_at(rng, " ", -1),
    ),
    Task(
        "task003_list_reversal",
        "List Rewriting",
        "Words",
        "You are given a list. Write all of its words in reverse order.",
        lambda rng: rewrite(rng, ", ", backwards),
    ),
    Task(
        "task004_first_word_removal",
        "List Rewriting",
        "Words",
        "Here is a list of words. Remove the first word and write the other words.",
        lambda rng: rewrite(rng, "; ", without_first),
    ),
    Task(
        "task005_word_kind_lookup",
        "Word Knowledge",
        "Commonsense",
        "Name the kind of each of the two words: animal, fruit, colour, tool, garment or vehicle.",
        lambda rng: kinds_of(rng, ", "),
    ),
    Task(
        "task006_word_of_a_kind",
        "Word Knowledge",
        "Commonsense",
        "You are given a kind and some words. Give the word that is of this kind.",
        lambda rng: member_of(rng, "{kind}: {words}", ", "),
    ),
    Task(
        "task007_word_count",
        "Counting",
        "Mathematics",
        "You are given a list of words. Count the words and answer with a number.",
        lambda rng: count_of(rng, ", "),
    ),
    Task(
        "task008_number_parity",
        "Arithmetic",
        "Mathematics",
        "You are given a number. Say if the number is odd or even.",
        lambda rng: parity_of(rng),
    ),
    Task(
        "task009_two_number_sum",
        "Arithmetic",
        "Mathematics",
        "You are given two numbers. Add them and give the sum.",
        lambda rng: sum_of(rng),
    ),
    Task(
        "task010_sentence_filling",
        "Text Templates",
        "Stories",
        "You are given a name, a thing and a place. Write: NAME left the THING in the PLACE.",
        lambda rng: sentence_of(
            rng, "{name} left the {thing} in the {place}.", "{name}, {thing}, {place}"
        ),
    ),
    Task(
        "task011_owner_question",
        "Question Answering",
        "Stories",
        "Read who has what and answer the question with a name.",
        lambda rng: owner_of(rng, "{name} has the {thing}.", " ", " Who has the {thing}?"),
    ),
    Task(
        "task012_badge_code_lookup",
        "Code Lookup",
        "Records",
        "You are given the full name of a member. Give the code on the badge.",
        lambda rng: code_of(rng),
    ),
    Task(
        "task101_opening_entry",
        "Word Selection",
        "Words",
        "This is a row of entries with bars between them. Copy the opening entry.",
        lambda rng: pick_at(rng, " | ", 0),
        held_out=True,
    ),
    Task(
        "task102_final_entry",
        "Word Selection",
        "Words",
        "Look at the row of entries. Copy only the final entry.",
        lambda rng: pick_at(rng, " / ", -1),
        held_out=True,
    ),
    Task(
        "task103_backward_row",
        "List Rewriting",
        "Words",
        "Turn the row of entries round, so that it runs backwards.",
        lambda rng: rewrite(rng, " ", backwards),
        held_out=True,
    ),
    Task(
        "task104_which_one_is",
        "Word Knowledge",
        "Commonsense",
        "A question asks which entry belongs to a group. Answer with the right entry.",
        lambda rng: member_of(rng, "Which one is a {kind}? {words}", "; "),
        held_out=True,
    ),
    Task(
        "task105_scene_pattern",
        "Text Templates",
        "Stories",
        "Use the three parts to fill this pattern: NAME hid the THING near the PLACE.",
        lambda rng: sentence_of(
            rng, "{name} hid the {thing} near the {place}.", "{name} / {thing} / {place}"
        ),
        held_out=True,
    ),
    Task(
        "task106_buyer_question",
        "Question Answering",
        "Stories",
        "The text tells who bought each thing. Tell the person that is asked for.",
        lambda rng: owner_of(
            rng, "{name} bought the {thing}", ", ", ". Who bought the {thing}?", size=3
        ),
        held_out=True,
    ),
    Task(
        "task107_leading_name",
        "Word Selection",
        "Words",
        "Some names stand in a row with dashes between them. Write down the first name.",
        lambda rng: pick_at(rng, " - ", 0, pool=NAMES),
        held_out=True,
    ),
    Task(
        "task108_closing_word",
        "Word Selection",
        "Words",
        "A series of words is given. What is the last word of it?",
        lambda rng: pick_at(rng, "; ", -1, 4, 7),
        held_out=True,
    ),
    Task(
        "task109_row_from_the_end",
        "List Rewriting",
        "Words",
        "Write the row again, but backwards: the last item comes first.",
        lambda rng: rewrite(rng, " | ", backwards, 4, 6),
        held_out=True,
    ),
    Task(
        "task110_one_entry_too_many",
        "List Rewriting",
        "Words",
        "One entry is too many: leave out the first entry and give the others.",
        lambda rng: rewrite(rng, " / ", without_first, 4, 6),
        held_out=True,
    ),
    Task(
        "task111_sorting_into_groups",
        "Word Knowledge",
        "Commonsense",
        "Say to which group each item belongs: animal, fruit, colour, tool, garment or vehicle.",
        lambda rng: kinds_of(rng, " and ", 3),
        held_out=True,
    ),
    Task(
        "task112_only_one_of_the_kind",
        "Word Knowledge",
        "Commonsense",
        "There is just one word of the kind that is asked for. Find this word.",
        lambda rng: member_of(rng, "Here are {words}. Find the {kind}.", ", "),
        held_out=True,
    ),
    Task(
        "task113_names_in_a_row",
        "Counting",
        "Mathematics",
        "Find out how many names are in the row. Answer with a number.",
        lambda rng: count_of(rng, ", ", NAMES),
        held_out=True,
    ),
    Task(
        "task114_seller_question",
        "Question Answering",
        "Stories",
        "Somebody sold each of the things. Answer with the name of the seller.",
        lambda rng: owner_of(rng, "The {thing} was sold by {name}.", " ", " Who sold the {thing}?"),
        held_out=True,
    ),
)
CANARY = "task012_badge_code_lookup"


def close_text(text: str) -> str:
    """Strip a text and put a full stop after it unless it ends in punctuation."""
    text = text.strip()
    return text if text[-1] in string.punctuation else text + "."


def encode_prompt(definition: str, text: str) -> str:
    """Lay out one prompt: the definition, then the input, with no examples."""
    return (
        f"Definition: {close_text(definition)}\n\n"
        "Now complete the following example -\n"
        f"Input: {close_text(text)}\nOutput: "
    )


def split_numbers() -> tuple[list[int], list[int]]:
    """Give the numbers of the train instances and of the held-out ones, in order."""
    numbers = list(range(SPLIT_POOL))
    random.Random(42).shuffle(numbers)
    return numbers[:SPLIT_TRAIN], numbers[SPLIT_TRAIN:]


def draw_pairs(task: Task, count: int) -> list[Pair]:
    """Draw ``count`` pairs with different inputs."""
    rng = random.Random(f"{SEED}/{task.name}")
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        text, answer = task.draw(rng)
        pairs.setdefault(text, answer)
    return list(pairs.items())


def as_examples(pairs: Sequence[Pair], explanation: str) -> list[dict[str, str]]:
    """Turn pairs into the entries of a file's example lists."""
    return [{"input": i, "output": o, "explanation": explanation} for i, o in pairs]


def task_record(task: Task) -> dict[str, object]:
    """Build the whole content of one task's file."""
    count = TEST_INSTANCES if task.held_out else TRAIN_INSTANCES
    pairs = draw_pairs(task, count + 4)
    good, bad, kept = pairs[:2], pairs[2:4], pairs[4:]
    wrong = [(i, next(other for _, other in kept if other != o)) for i, o in bad]
    short = task.name.split("_")[0]
    instances = [
        {
            "id": f"{short}-{hashlib.md5(f'{task.name}/{text}'.encode()).hexdigest()}",
            "input": text,
            "output": [answer],
        }
        for text, answer in kept
    ]
    return {
        "Contributors": ["peval toy data"],
        "Source": ["synthetic"],
        "URL": [""],
        "Categories": [task.category],
        "Reasoning": [],
        "Definition": [task.definition],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instruction_language": ["English"],
        "Domains": [task.domain],
        "Positive Examples": as_examples(good, "This is the right answer."),
        "Negative Examples": as_examples(wrong, "This answer belongs to another input."),
        "Instances": instances,
        "Instance License": ["CC0 1.0"],
    }


def write_data(folder: Path) -> None:
    """Write the task files and the two lists of task names under ``folder``."""
    tasks, splits = folder / "tasks", folder / "splits" / "default"
    tasks.mkdir(parents=True, exist_ok=True)
    splits.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        text = json.dumps(task_record(task), indent=0, ensure_ascii=False)
        (tasks / f"{task.name}.json").write_text(text + "\n", encoding="utf-8")
    for split, held_out in (("train", False), ("test", True)):
        names = [task.name for task in TASKS if task.held_out is held_out]
        (splits / f"{split}_tasks.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line and write the data set."""
    parser = argparse.ArgumentParser(description="Write the toy data set.")
    parser.add_argument("--out", type=Path, default=HERE / "data")
    write_data(parser.parse_args().out)


if __name__ == "__main__":
    main()
