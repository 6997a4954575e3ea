import json
import os
from pathlib import Path

import pytest

from peval.baselines import BASELINES
from peval.scorers.text import official_metrics
from peval.types import Example, Instruction, Sample

DATA = Path(os.environ.get("PEVAL_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))
SUPERNI_TEST = DATA / "super_natural_instructions" / "test_tasks"


def sample(id_, targets, cluster="c", instruction=None):
    return Sample(id_, f"input {id_}", targets, cluster, instruction=instruction)


def test_copy_input_answers_with_the_input():
    assert BASELINES["copy-input"]([sample("1", ("x",))]) == {"1": "input 1"}


def test_copy_demonstration_answers_with_the_first_output_of_each_ones_instruction():
    one = Instruction("d", (Example("i", "first"), Example("i", "second")))
    other = Instruction("d", (Example("i", "other"),))
    samples = [sample("1", ("x",), "a", one), sample("2", ("x",), "b", other)]
    assert BASELINES["copy-demonstration"](samples) == {"1": "first", "2": "other"}


@pytest.mark.parametrize("instruction", [None, Instruction("d")])
def test_copy_demonstration_does_not_apply_where_one_is_missing(instruction):
    full = Instruction("d", (Example("i", "o"),))
    samples = [sample("1", ("x",), "a", full), sample("2", ("x",), "b", instruction)]
    assert BASELINES["copy-demonstration"](samples) is None


def test_majority_target_counts_within_a_cluster():
    samples = [
        sample("1", ("no",)),
        sample("2", ("yes",)),
        sample("3", ("yes",)),
        sample("4", ("no",), "other"),
    ]
    found = BASELINES["majority-target"](samples)
    assert found == {"1": "yes", "2": "yes", "3": "yes", "4": "no"}


def test_majority_target_counts_a_samples_alternatives_once_each():
    samples = [sample("1", ("b", "b", "b", "a")), sample("2", ("c", "a"))]
    assert BASELINES["majority-target"](samples) == {"1": "a", "2": "a"}


def test_samples_that_are_clusters_of_their_own_share_one_answer():
    samples = [sample(name, (target,), name) for name, target in ("ay", "bn", "cn")]
    assert BASELINES["majority-target"](samples) == {"a": "n", "b": "n", "c": "n"}


def test_majority_target_takes_the_first_seen_of_equals():
    samples = [sample("1", ("z",)), sample("2", ("a",)), sample("3", ("a",)), sample("4", ("z",))]
    assert set(BASELINES["majority-target"](samples).values()) == {"z"}


@pytest.fixture(scope="module")
def superni():
    """The instances that the official evaluation takes: the first 100 of each test task."""
    if not SUPERNI_TEST.is_dir():
        pytest.skip("no Super-NaturalInstructions tasks: set PEVAL_DATA to the benchmark data")
    samples = []
    for path in sorted(SUPERNI_TEST.glob("*.json")):
        task = json.loads(path.read_text(encoding="utf-8"))
        examples = tuple(Example(e["input"], e["output"]) for e in task["Positive Examples"])
        instruction = Instruction(" ".join(task["Definition"]), examples)
        for item in task["Instances"][:100]:
            targets = tuple(item["output"])
            samples.append(Sample(item["id"], item["input"], targets, path.stem, "", instruction))
    return samples


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_score_on_real_tasks_as_by_the_reference_library(superni, name):
    from rouge_score.rouge_scorer import RougeScorer

    predictions = BASELINES[name](superni)
    assert list(predictions) == [sample.id for sample in superni]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    totals = {}
    for item in superni:
        best = max(
            scorer.score(target=target, prediction=predictions[item.id])["rougeL"].fmeasure
            for target in item.targets
        )
        totals.setdefault(item.cluster, []).append(best)

    references = {item.id: item.targets for item in superni}
    groups = {item.id: item.cluster for item in superni}
    found = official_metrics(predictions, references, groups)
    for cluster, values in totals.items():
        assert found[f"rougeL_for_{cluster}"] == round(100.0 * sum(values) / len(values), 4)
    everything = [value for values in totals.values() for value in values]
    assert found["rougeL"] == round(100.0 * sum(everything) / len(everything), 4)
